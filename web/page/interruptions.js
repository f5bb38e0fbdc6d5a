/**
 * Detects that an interruption of audio and video may be over: a phone call, another app, a removed device, a hidden
 * page. Browsers have no event for the end of an interruption, and many do not resume paused media.
 * @module
 */

/** Some interruptions end without an event. */
const CHECK_MS = 1000;
const GESTURES = ['pointerdown', 'pointerup', 'keydown', 'touchend'];

/** @param {() => void} resume called on each indication, and once a second */
export function whenOver(resume) {
  for (const gesture of GESTURES) document.addEventListener(gesture, resume, { capture: true, passive: true });
  document.addEventListener('visibilitychange', resume);
  for (const event of ['focus', 'pageshow', 'online']) addEventListener(event, resume);
  navigator.mediaDevices?.addEventListener('devicechange', resume);
  setInterval(resume, CHECK_MS);
}

/** Restarts live videos after an interruption. They have no audio, so browsers allow it. */
export function keepPicturesPlaying() {
  const resume = () => {
    for (const video of document.querySelectorAll('video')) {
      const { srcObject } = video;
      const live = srcObject instanceof MediaStream && srcObject.active;
      if (video.paused && live && video !== document.pictureInPictureElement) video.play().catch(() => {});
    }
  };
  // `pause` does not bubble, but can be captured.
  document.addEventListener('pause', resume, true);
  whenOver(resume);
}
