/**
 * Keeps the live stream playing while the viewer wants it to play, within the browser's rules for autoplay.
 *
 * Browsers pause media by themselves: WebKit when an element that started muted becomes audible without a gesture, phones
 * when a call or another app takes the sound or when the page is hidden. Such a pause is undone without sound, at the live
 * edge. A browser that pauses again and again, or does not even play without sound, gets a "Tap to play" button.
 * WebKitGTK also forgets that an element is muted whenever the playback rate changes, and pauses it for being audible.
 *
 * HTML Standard 4.8.11.8; https://webkit.org/blog/6784/new-video-policies-for-ios/
 * @module
 */

/** So many pauses by the browser within so many milliseconds, and the viewer has to tap. */
const PAUSES_LIMIT = 3;
const PAUSES_WINDOW_MS = 8000;

/**
 * @typedef {object} Prompts
 * @property {boolean} silenced the browser's rules keep the sound off until a tap
 * @property {boolean} needsTap the browser does not play before a tap
 */
/**
 * @typedef {object} Options
 * @property {() => boolean} active whether there is something to play
 * @property {() => void} resume goes to the live edge, where the viewer follows it
 * @property {() => void} unmuted the browser ended the mute by itself
 * @property {(prompts: Partial<Prompts> & {announcement?: string}) => void} show
 * @property {() => number} [now] milliseconds
 */

export class Playback {
  /** Whether the viewer wants it to play. */
  wanted = true;
  /** @type {Prompts} */
  prompts = { silenced: false, needsTap: false };
  /** Whether the element is meant to be muted, by the viewer or by the browser's rules. */
  #muted = false;
  #starting = false;
  /** @type {number[]} when the browser paused */
  #pauses = [];

  /**
   * @param {HTMLVideoElement} video
   * @param {Options} options
   */
  constructor(video, { active, resume, unmuted, show, now = () => performance.now() }) {
    this.video = video;
    this.active = active;
    this.resume = resume;
    this.unmuted = unmuted;
    this.show = show;
    this.now = now;
  }

  /** Plays with sound if the browser allows it, else without, else after a tap. */
  async play() {
    this.wanted = true;
    if (this.#starting) return;
    this.#starting = true;
    try {
      if (await this.#attempt()) return;
      if (!this.#muted) {
        this.#silence();
        if (await this.#attempt()) return;
      }
      this.#block();
    } finally {
      this.#starting = false;
    }
  }

  /** The viewer wants it to stand. */
  pause() {
    this.wanted = false;
    this.video.pause();
  }

  /**
   * A gesture of the viewer that asks for the picture, and for the sound unless the viewer turned it off.
   * @param {boolean} [muted]
   */
  tap(muted = false) {
    this.#pauses = [];
    this.#show({ needsTap: false });
    this.mute(muted);
    return this.play();
  }

  /** The viewer chooses, by a gesture that satisfies the browser's rules. @param {boolean} muted */
  mute(muted) {
    this.#muted = this.video.muted = muted;
    this.#show({ silenced: false });
  }

  /** Another live stream begins. */
  reset() {
    this.wanted = true;
    this.#pauses = [];
    this.#show({ needsTap: false });
  }

  /** Call it on `pause`, on `volumechange`, when the page becomes visible, and from time to time: some pauses have no event. */
  check() {
    const { video } = this;
    if (!this.active() || video.ended) return;
    if (video.muted !== this.#muted) this.#differs();
    if (!this.wanted || this.#starting || this.prompts.needsTap) return;
    // A hidden page cannot ask for a tap, and the viewer misses nothing.
    if (!video.paused || document.hidden) return;
    if (this.#elsewhere()) {
      this.wanted = false;
      return;
    }
    const now = this.now();
    this.#pauses = [...this.#pauses.filter((at) => now - at < PAUSES_WINDOW_MS), now];
    if (this.#pauses.length > PAUSES_LIMIT) {
      this.#block();
      return;
    }
    if (!this.#muted) this.#silence();
    this.resume();
    void this.play();
  }

  /** The mute changed, and not by this page. */
  #differs() {
    if (this.#muted && !this.#elsewhere()) {
      this.video.muted = true;
      this.unmuted();
    } else {
      this.#muted = this.video.muted;
      this.#show({ silenced: false });
    }
  }

  /** Pictures that the browser shows with buttons of its own, which may have caused the pause. */
  #elsewhere() {
    const whole = /** @type {{webkitDisplayingFullscreen?: boolean}} */ (/** @type {unknown} */ (this.video));
    return this.video.controls || Boolean(whole.webkitDisplayingFullscreen) || document.pictureInPictureElement === this.video;
  }

  /** @returns {Promise<boolean>} false: the browser's rules forbid it */
  async #attempt() {
    try {
      await this.video.play();
      this.#show({ needsTap: false });
    } catch (error) {
      // Other errors: the live stream is being loaded again, or cannot be decoded; the player reports those.
      return !(error instanceof DOMException && error.name === 'NotAllowedError');
    }
    return true;
  }

  #silence() {
    this.#muted = this.video.muted = true;
    this.#show({ silenced: true, announcement: 'The sound is off until you tap.' });
  }

  #block() {
    this.#show({ needsTap: true, announcement: 'The browser has paused. Tap to play.' });
  }

  /** @param {Partial<Prompts> & {announcement?: string}} change */
  #show(change) {
    const { announcement: _, ...prompts } = change;
    this.prompts = { ...this.prompts, ...prompts };
    this.show(change);
  }
}
