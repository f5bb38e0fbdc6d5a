/**
 * Keeps the live stream playing while the viewer wants it to, within the browser's autoplay rules.
 *
 * Browsers pause media on their own: WebKit when an element that started muted becomes audible without a gesture,
 * phones when a call or another app takes the audio or when the page is hidden. Playback then resumes muted at the live
 * edge. If the browser pauses repeatedly, or does not even allow muted playback, a "Tap to play" button appears.
 * WebKitGTK also loses the muted state when the playback rate changes, and then pauses the element for being audible.
 *
 * HTML Standard 4.8.11.8; https://webkit.org/blog/6784/new-video-policies-for-ios/
 * @module
 */

/** After this many pauses by the browser within this many milliseconds, the viewer has to tap. */
const PAUSES_LIMIT = 3;
const PAUSES_WINDOW_MS = 8000;

/**
 * @typedef {object} Prompts
 * @property {boolean} silenced autoplay rules keep the audio off until a tap
 * @property {boolean} needsTap the browser requires a tap to play
 */
/**
 * @typedef {object} Options
 * @property {() => boolean} active whether media is available
 * @property {() => void} resume seeks to the live edge and follows it
 * @property {() => void} unmuted the browser unmuted the element on its own
 * @property {(prompts: Partial<Prompts> & {announcement?: string}) => void} show
 * @property {() => number} [now] milliseconds
 */

export class Playback {
  /** Whether the viewer wants playback. */
  wanted = true;
  /** @type {Prompts} */
  prompts = { silenced: false, needsTap: false };
  /** Whether the element should be muted, by the viewer or by autoplay rules. */
  #muted = false;
  #starting = false;
  /** Whether it was asked to play since the stream was loaded: before, the element is paused because nothing has started it. */
  #asked = false;
  /** Whether the last start was interrupted, e.g. by new media, and not by autoplay rules. */
  #interrupted = false;
  /** @type {number[]} times at which the browser paused */
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

  /** Plays with audio if the browser allows it, else muted, else after a tap. */
  async play() {
    this.wanted = this.#asked = true;
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

  /** Pauses at the viewer's request. */
  pause() {
    this.wanted = false;
    this.video.pause();
  }

  /**
   * Starts playback after a tap, with audio unless the viewer muted it.
   * @param {boolean} [muted]
   */
  tap(muted = false) {
    this.#pauses = [];
    this.#show({ needsTap: false });
    this.mute(muted);
    return this.play();
  }

  /** Mutes or unmutes at the viewer's request (a user gesture). @param {boolean} muted */
  mute(muted) {
    this.#muted = this.video.muted = muted;
    this.#show({ silenced: false });
  }

  /** Call before another live stream. */
  reset() {
    this.wanted = true;
    this.#asked = false;
    this.#pauses = [];
    this.#show({ needsTap: false });
  }

  /** Call it on `pause`, on `volumechange`, when the page becomes visible, and from time to time: some pauses have no event. */
  check() {
    const { video } = this;
    if (!this.active() || video.ended) return;
    if (video.muted !== this.#muted) this.#differs();
    if (!this.wanted || !this.#asked || this.#starting || this.prompts.needsTap) return;
    // A hidden page cannot ask for a tap and need not play.
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
    if (!this.#muted && !this.#interrupted) this.#silence();
    this.#interrupted = false;
    this.resume();
    void this.play();
  }

  /** Whether the browser changed the muted state. */
  #differs() {
    if (this.#muted && !this.#elsewhere()) {
      this.video.muted = true;
      this.unmuted();
    } else {
      this.#muted = this.video.muted;
      this.#show({ silenced: false });
    }
  }

  /** Whether the browser shows its own controls (full screen, picture in picture), which may have caused the pause. */
  #elsewhere() {
    const whole = /** @type {{webkitDisplayingFullscreen?: boolean}} */ (/** @type {unknown} */ (this.video));
    return this.video.controls || Boolean(whole.webkitDisplayingFullscreen) || document.pictureInPictureElement === this.video;
  }

  /** @returns {Promise<boolean>} false: blocked by autoplay rules */
  async #attempt() {
    try {
      await this.video.play();
      this.#show({ needsTap: false });
    } catch (error) {
      // The player reports other errors: a reload in progress, or media that cannot be decoded.
      const name = error instanceof DOMException ? error.name : '';
      this.#interrupted = name === 'AbortError';
      return name !== 'NotAllowedError';
    }
    return true;
  }

  #silence() {
    this.#muted = this.video.muted = true;
    this.#show({ silenced: true, announcement: 'Audio is off. Tap to unmute.' });
  }

  #block() {
    this.#show({ needsTap: true, announcement: 'Paused by the browser. Tap to play.' });
  }

  /** @param {Partial<Prompts> & {announcement?: string}} change */
  #show(change) {
    const { announcement: _, ...prompts } = change;
    this.prompts = { ...this.prompts, ...prompts };
    this.show(change);
  }
}
