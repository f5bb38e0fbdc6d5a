/**
 * How fast to play so that the picture stays as close to live as the network allows: a pure controller.
 *
 * A part of 0.2 s arrives every 0.2 s. What counts is how much is left to play when the next one comes, the margin: it has
 * to cover how late parts come at times. So the margin is steered to a small reserve plus the lateness seen lately, by
 * playing up to 15 % faster or 5 % slower, which nobody hears.
 * @module
 */

export const TICK_MS = 100;
const SLOWEST = 0.95;
const FASTEST = 1.15;
/** Seconds. */
const RESERVE = 0.09;
const MOST_RESERVE = 3;
const PART = 0.2;
/** Within this the rate stays 1: a change of rate is not free for the decoder. */
const QUIET = 0.03;
const GAIN = 0.6;
/** Each second the memory of lateness fades by this. */
const FADE = 0.985;
/** What a stall adds to the lateness that is expected. */
const STALL = 0.15;
/** Farther behind than this is jumped, not caught up with. */
const JUMP = 1.5;

export class LatencyController {
  #lateness = 0.02;
  /** The margin, smoothed. @type {number | null} */
  #margin = null;
  #end = -1;
  #arrivedAt = 0;
  #last = 0;
  /** Seconds to hold in addition, while something else needs them. */
  cushion = 0;

  /** Seconds that should be left to play when the next part comes. */
  get target() {
    return Math.min(RESERVE + this.#lateness + this.cushion, MOST_RESERVE);
  }

  /** The margin as it was last estimated. */
  get margin() {
    return this.#margin ?? 0;
  }

  /**
   * @param {number} position of the playing picture, seconds
   * @param {number} end of what is buffered
   * @param {number} now seconds
   * @returns {{rate: number, jump: number | null}} `jump`: where to play on instead
   */
  tick(position, end, now) {
    const forward = end - position;
    const passed = Math.min(now - this.#last, 5);
    this.#last = now;
    this.#lateness *= FADE ** passed;
    if (end > this.#end + 0.01) {
      // What was left when it came, give or take a tick.
      const left = forward - Math.min(end - this.#end, forward);
      if (this.#margin !== null && end - this.#end < 2.5 * PART) this.#lateness = Math.max(this.#lateness, this.#margin - left);
      this.#end = end;
      this.#arrivedAt = now;
    }
    if (forward > this.target + PART + JUMP) {
      this.#margin = null;
      return { rate: 1, jump: end - this.target - PART };
    }
    const until = Math.max(PART - (now - this.#arrivedAt), -PART);
    const estimate = forward - until;
    this.#margin = this.#margin === null ? estimate : this.#margin + (estimate - this.#margin) * Math.min(1, passed * 3);
    const error = this.#margin - this.target;
    if (Math.abs(error) < QUIET) return { rate: 1, jump: null };
    // In hundredths, so that the rate is not set anew ten times a second.
    const rate = Math.round((1 + error * GAIN) * 100) / 100;
    return { rate: Math.min(FASTEST, Math.max(SLOWEST, rate)), jump: null };
  }

  /** The picture stood still for want of data. */
  stalled() {
    this.#lateness = Math.min(this.#lateness + STALL, MOST_RESERVE);
    this.#margin = null;
  }

  /** The viewer went somewhere else: what was seen of the buffer says nothing any more. */
  reset() {
    this.#margin = null;
    this.#end = -1;
  }
}
