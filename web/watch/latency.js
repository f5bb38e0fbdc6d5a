/**
 * Latency controller: adapts the playback rate to stay as close to the live edge as the network allows. Pure.
 *
 * A part of 0.2 s arrives every 0.2 s. The margin is the buffered time when the next part arrives; it must cover the
 * lateness of parts. The controller keeps the margin at a small reserve plus the recent lateness by playing up to 15 %
 * faster or 5 % slower, which is inaudible.
 * @module
 */

export const TICK_MS = 100;
const SLOWEST = 0.95;
const FASTEST = 1.15;
/** Seconds. */
const RESERVE = 0.09;
const MOST_RESERVE = 3;
const PART = 0.2;
/** Within this deviation the rate stays 1, because each rate change costs the decoder some work. */
const DEAD_BAND = 0.03;
const GAIN = 0.6;
/** Decay of the recorded lateness per second. */
const LATENESS_DECAY = 0.985;
/** Seconds that a stall adds to the expected lateness. */
const STALL_PENALTY = 0.15;
/** Seconds behind the target from which playback jumps instead of catching up. */
const JUMP_THRESHOLD = 1.5;

export class LatencyController {
  #lateness = 0.02;
  /** Smoothed margin. @type {number | null} */
  #margin = null;
  #end = -1;
  #arrivedAt = 0;
  #last = 0;
  /** Extra buffer in seconds, for level changes. */
  cushion = 0;

  /** Target of the margin in seconds. */
  get target() {
    return Math.min(RESERVE + this.#lateness + this.cushion, MOST_RESERVE);
  }

  /** Last estimate of the margin. */
  get margin() {
    return this.#margin ?? 0;
  }

  /**
   * @param {number} position of playback, seconds
   * @param {number} end of the buffer
   * @param {number} now seconds
   * @returns {{rate: number, jump: number | null}} `jump`: position to continue at
   */
  tick(position, end, now) {
    const forward = end - position;
    const passed = Math.min(now - this.#last, 5);
    this.#last = now;
    this.#lateness *= LATENESS_DECAY ** passed;
    if (end > this.#end + 0.01) {
      // Buffered time at its arrival, within one tick.
      const left = forward - Math.min(end - this.#end, forward);
      if (this.#margin !== null && end - this.#end < 2.5 * PART) this.#lateness = Math.max(this.#lateness, this.#margin - left);
      this.#end = end;
      this.#arrivedAt = now;
    }
    if (forward > this.target + PART + JUMP_THRESHOLD) {
      this.#margin = null;
      return { rate: 1, jump: end - this.target - PART };
    }
    const until = Math.max(PART - (now - this.#arrivedAt), -PART);
    const estimate = forward - until;
    this.#margin = this.#margin === null ? estimate : this.#margin + (estimate - this.#margin) * Math.min(1, passed * 3);
    const error = this.#margin - this.target;
    if (Math.abs(error) < DEAD_BAND) return { rate: 1, jump: null };
    // Rounded to hundredths, so that the rate does not change ten times a second.
    const rate = Math.round((1 + error * GAIN) * 100) / 100;
    return { rate: Math.min(FASTEST, Math.max(SLOWEST, rate)), jump: null };
  }

  /** Playback stalled because the buffer ran empty. */
  stalled() {
    this.#lateness = Math.min(this.#lateness + STALL_PENALTY, MOST_RESERVE);
    this.#margin = null;
  }

  /** After a seek, earlier buffer measurements are no longer valid. */
  reset() {
    this.#margin = null;
    this.#end = -1;
  }
}
