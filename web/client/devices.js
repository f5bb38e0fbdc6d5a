/**
 * Cameras, microphones and speakers: lists them, opens them and explains errors.
 * @module
 */

/** @typedef {'camera' | 'microphone' | 'screen'} DeviceKind */
/** @typedef {{id: string, label: string}} Device */
/** @typedef {{cameras: Device[], microphones: Device[], speakers: Device[]}} DeviceList */
/** @typedef {{kind: DeviceKind, code: string, title: string, text: string}} DeviceProblem */

/** @type {DeviceList} */
export const none = { cameras: [], microphones: [], speakers: [] };

/**
 * Labels are empty until the user has allowed access to a device.
 * @returns {Promise<DeviceList>}
 */
export async function list() {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const of = (/** @type {MediaDeviceKind} */ kind, /** @type {string} */ noun) =>
    all
      .filter((device) => device.kind === kind && device.deviceId)
      .map(({ deviceId, label }, index) => ({ id: deviceId, label: label || `${noun} ${index + 1}` }));
  return {
    cameras: of('videoinput', 'Camera'),
    microphones: of('audioinput', 'Microphone'),
    speakers: of('audiooutput', 'Speaker'),
  };
}

/**
 * Opens a camera. If the given device is missing, any other one is used.
 * @param {string} deviceId empty: any
 */
export function openCamera(deviceId) {
  return open('video', deviceId, { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } });
}

/** @param {string} deviceId empty: any */
export function openMicrophone(deviceId) {
  return open('audio', deviceId, { echoCancellation: true, noiseSuppression: true, autoGainControl: true });
}

/**
 * @param {'audio' | 'video'} kind
 * @param {string} deviceId
 * @param {MediaTrackConstraints} constraints
 * @returns {Promise<MediaStreamTrack>}
 */
async function open(kind, deviceId, constraints) {
  if (!navigator.mediaDevices) throw new DOMException('Devices require a secure context.', 'SecurityError');
  const attempts = deviceId ? [{ ...constraints, deviceId: { exact: deviceId } }, constraints] : [constraints];
  for (const [index, attempt] of attempts.entries()) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ [kind]: attempt });
      return /** @type {MediaStreamTrack} */ (stream.getTracks()[0]);
    } catch (error) {
      const gone = error instanceof DOMException && ['OverconstrainedError', 'NotFoundError'].includes(error.name);
      if (!gone || index === attempts.length - 1) throw error;
    }
  }
  throw new DOMException('No device.', 'NotFoundError');
}

/**
 * Captures a screen, window or tab, with its audio where the browser supports that.
 * @returns {Promise<{video: MediaStreamTrack, audio: MediaStreamTrack | null}>}
 */
export async function openScreen() {
  const options = {
    video: { frameRate: { ideal: 30 }, width: { max: 2560 }, height: { max: 1440 } },
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    selfBrowserSurface: 'exclude',
    surfaceSwitching: 'include',
    systemAudio: 'include',
  };
  const stream = await navigator.mediaDevices.getDisplayMedia(options);
  const video = /** @type {MediaStreamTrack} */ (stream.getVideoTracks()[0]);
  video.contentHint = 'detail';
  return { video, audio: stream.getAudioTracks()[0] ?? null };
}

/** Whether the browser supports screen sharing (phones do not). */
export const canShare = () => Boolean(navigator.mediaDevices && 'getDisplayMedia' in navigator.mediaDevices);

/** @type {Record<string, (noun: string, Noun: string) => [string, string]>} */
const EXPLANATIONS = {
  NotAllowedError: (noun, Noun) => [
    `${Noun} is blocked`,
    `Allow access to the ${noun} in the browser's address bar, then try again.`,
  ],
  SecurityError: (noun, Noun) => [`${Noun} is not available here`, `Browsers allow access to the ${noun} only on https pages.`],
  NotFoundError: (noun) => [`No ${noun} found`, `Connect a ${noun} and try again, or join without one.`],
  NotReadableError: (noun, Noun) => [
    `${Noun} is in use`,
    `Another application may be using the ${noun}. Close it, then try again.`,
  ],
  OverconstrainedError: (noun, Noun) => [`${Noun} is not suitable`, `The selected ${noun} does not support the required settings. Choose another one.`],
  AbortError: (noun, Noun) => [`${Noun} did not start`, `The ${noun} is not responding. Reconnect it, then try again.`],
};

/**
 * Error text for a device that could not be opened.
 * @param {unknown} error
 * @param {DeviceKind} kind
 * @returns {DeviceProblem}
 */
export function explain(error, kind) {
  const code = error instanceof Error || error instanceof DOMException ? error.name : 'Error';
  const explanation = EXPLANATIONS[code] ?? ((noun, Noun) => [`${Noun} does not work`, `The ${noun} could not be started (${code}).`]);
  const [title, text] = explanation(kind, kind === 'screen' ? 'Screen sharing' : `${kind[0]?.toUpperCase()}${kind.slice(1)}`);
  return { kind, code, title, text };
}
