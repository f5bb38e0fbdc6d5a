/**
 * Simulcast layers and codec order of published tracks, as pure functions.
 * @module
 */

/** @typedef {import('./types.js').Source} Source */
/** @typedef {import('./types.js').LayerSpec} LayerSpec */
/** @typedef {'vp8' | 'vp9' | 'av1' | 'h264'} VideoCodec */
/** @typedef {{mimeType: string, clockRate: number, channels?: number, sdpFmtpLine?: string}} Codec */

/**
 * One simulcast layer. `bitrate`: bits per second that VP8 needs for 1280 × 720 at 30 frames per second.
 * @typedef {{rid: string, scale: number, bitrate: number, fps: number}} Rung
 */

/** @type {Rung[]} */
const CAMERA = [
  { rid: 'q', scale: 4, bitrate: 150_000, fps: 30 },
  { rid: 'h', scale: 2, bitrate: 500_000, fps: 30 },
  { rid: 'f', scale: 1, bitrate: 1_700_000, fps: 30 },
];
/** Text is readable at half the size and at a low frame rate, but not below. @type {Rung[]} */
const SCREEN = [
  { rid: 'h', scale: 2, bitrate: 500_000, fps: 10 },
  { rid: 'f', scale: 1, bitrate: 2_500_000, fps: 30 },
];
/**
 * Minimum number of pixels for this number of layers. For smaller video, libwebrtc drops the last rids, the largest layers.
 * @type {Array<[number, number]>}
 */
const AFFORDED = [
  [960 * 540, 3],
  [480 * 270, 2],
  [0, 1],
];
/** The bitrate grows more slowly than the number of pixels. This exponent fits common layer bitrates (150k, 500k, 1.7M). */
const GROWTH = 0.75;

/**
 * The encodings of a video track, smallest first.
 * @param {Source} source
 * @param {number} width
 * @param {number} height
 * @param {VideoCodec} codec
 * @param {boolean} [simulcast]
 * @returns {Array<RTCRtpEncodingParameters & {scalabilityMode?: string}>}
 */
export function encodings(source, width, height, codec, simulcast = true) {
  const screen = source === 'screen_share';
  const ladder = screen ? SCREEN : CAMERA;
  const full = (width * height || 1280 * 720) / (screen ? 1920 * 1080 : 1280 * 720);
  const pixels = width * height || Infinity;
  const afforded = AFFORDED.find(([least]) => pixels >= least)?.[1] ?? 1;
  return ladder.slice(simulcast ? -afforded : -1).map(({ rid, scale, bitrate, fps }) => ({
    ...(simulcast ? { rid } : {}),
    active: true,
    scaleResolutionDownBy: scale,
    maxBitrate: Math.round((bitrate * Math.min(4, full ** GROWTH)) / 1000) * 1000,
    maxFramerate: fps,
    ...(scalability(codec) ? { scalabilityMode: scalability(codec) } : {}),
  }));
}

/**
 * VP8 has temporal layers that the server can drop. VP9 and AV1 send all simulcast layers only if the mode declares
 * simulcast instead of spatial layers in one stream.
 * @param {VideoCodec} codec
 */
function scalability(codec) {
  return { vp8: 'L1T3', vp9: 'L1T1', av1: 'L1T1', h264: '' }[codec];
}

/**
 * Layer descriptions for the other participants.
 * @param {ReadonlyArray<RTCRtpEncodingParameters>} list
 * @param {number} width
 * @param {number} height
 * @returns {LayerSpec[]}
 */
export function layerSpecs(list, width, height) {
  return list
    .filter(({ rid }) => rid)
    .map(({ rid, scaleResolutionDownBy = 1, maxBitrate = 0, maxFramerate = 0 }) => ({
      rid: rid ?? '',
      width: Math.floor(width / scaleResolutionDownBy),
      height: Math.floor(height / scaleResolutionDownBy),
      fps: maxFramerate,
      bitrate: maxBitrate,
    }));
}

/**
 * Moves the wanted codecs to the front. The rest keeps the browser's order, so that a common codec remains.
 * @template {Codec} C
 * @param {ReadonlyArray<C>} available
 * @param {string[]} wanted MIME subtypes, best first
 * @returns {C[]}
 */
export function ordered(available, wanted) {
  const rank = (/** @type {Codec} */ codec) => {
    const index = wanted.indexOf((codec.mimeType.split('/')[1] ?? '').toLowerCase());
    return index < 0 ? wanted.length : index;
  };
  return [...available].sort((a, b) => rank(a) - rank(b));
}
