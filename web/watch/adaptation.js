/**
 * Adaptive bitrate controller for a latency of half a second. Pure.
 *
 * Players usually measure throughput from the request on. That includes the round trip and the wait for a part that
 * does not exist yet, so a fast network looks slow: parts of 40 kB that arrive over 100 ms look like 2 Mbit/s on any
 * network. This controller measures only from the first to the last byte. Each level change costs round trips that the
 * small buffer has to cover. The level therefore falls only if the throughput is too low for the current level, and
 * rises only after some seconds of headroom and with extra data in the buffer.
 * @module
 */

/** Seconds for which samples count: a few keyframe intervals of one second. */
const WINDOW = 3;
/** Shorter times are below the resolution of browser clocks. */
const MIN_SECONDS = 0.001;
/** Initial throughput estimate in bits per second. */
const FIRST_ESTIMATE = 3_000_000;
const FIRST_HEADROOM = 1.2;
/** A part that takes longer than this after its first byte counts as a sample before it completes. */
const SLOW_PART = 0.4;
/** Below this fraction of the level's bitrate, the throughput is insufficient regardless of the buffer. */
const INSUFFICIENT_RATIO = 0.8;
/** Below this fraction it is insufficient if the buffer also shrinks. Above it, a stall has other causes. */
const MARGINAL_RATIO = 1.1;
const HEADROOM = 1.4;
/** Seconds of headroom before preparing the next level. */
const UP_DELAY = 3;
/** The same after a failure of that level, doubled with each failure. */
const FAILED_UP_DELAY = 15;
const MAX_UP_DELAY = 120;
/** A level has failed if it is left within this many seconds. */
const TRIAL_PERIOD = 20;
/** Extra buffer in seconds during a level change, and how long to keep it afterwards. */
const EXTRA_BUFFER = 0.3;
const SETTLE_TIME = 4;
/** Tolerance in seconds below the target at which the buffer counts as full. */
const FULL_TOLERANCE = 0.06;
/** Minimum number of seconds between two steps down. */
const STEP = 1;
const ABANDON_AFTER = 1;

/**
 * @typedef {{bytes: number, seconds: number, total: number}} Flying a part in flight: bytes so far, seconds since the
 *   first byte, total bytes
 */

export class Adaptation {
  /** @type {{bits: number, seconds: number, at: number}[]} */
  #samples = [];
  /** Bitrates of the levels, lowest first. @type {number[]} */
  #rates = [];
  #level = 0;
  #headroomSince = Infinity;
  #raisedAt = -Infinity;
  #loweredAt = -Infinity;
  #stalledAt = -Infinity;
  /** Seconds of headroom that a level requires after a failure. @type {Map<number, number>} */
  #upDelays = new Map();

  get level() {
    return this.#level;
  }

  /**
   * Starts another live stream with a widely supported level. Throughput measurements remain.
   * @param {number[]} rates bits per second, lowest first
   * @param {number} ceiling highest useful level
   * @param {number} now seconds
   */
  begin(rates, ceiling, now) {
    this.#rates = rates;
    this.#upDelays.clear();
    this.#headroomSince = Infinity;
    const line = this.estimate(now) ?? FIRST_ESTIMATE;
    const fits = rates.findLastIndex((rate, level) => level <= ceiling && rate * FIRST_HEADROOM <= line);
    this.#level = Math.max(0, fits);
  }

  /**
   * Sets a level chosen by the viewer, or by the player because another level is broken.
   * @param {number} level
   */
  set(level) {
    if (level === this.#level || level < 0 || level >= this.#rates.length) return;
    this.#level = level;
    this.#headroomSince = Infinity;
  }

  /**
   * Records a completed part.
   * @param {number} bytes
   * @param {number} seconds from its first byte to its last
   * @param {number} now
   */
  heard(bytes, seconds, now) {
    this.#samples.push({ bits: bytes * 8, seconds: Math.max(seconds, MIN_SECONDS), at: now });
    this.#forget(now);
  }

  /** Playback stalled. @param {number} now */
  stalled(now) {
    this.#stalledAt = now;
    this.#headroomSince = Infinity;
  }

  /**
   * Throughput in bits per second; null: no recent data.
   * @param {number} now
   * @param {Flying | null} [flying]
   */
  estimate(now, flying = null) {
    this.#forget(now);
    let bits = 0;
    let seconds = 0;
    for (const sample of this.#samples) {
      bits += sample.bits;
      seconds += sample.seconds;
    }
    const known = seconds ? bits / seconds : null;
    if (!flying || flying.seconds < SLOW_PART) return known;
    const slow = (flying.bytes * 8) / flying.seconds;
    return known === null ? slow : Math.min(known, slow);
  }

  /**
   * @param {object} state
   * @param {number} state.now
   * @param {number} state.margin buffered seconds when the next part arrives
   * @param {number} state.target desired margin, without the extra buffer
   * @param {number} state.ceiling
   * @param {Flying | null} state.flying
   * @returns {{level: number, cushion: number, abandon: boolean}} `cushion`: extra buffer in seconds;
   *   `abandon`: the part in flight takes too long
   */
  tick({ now, margin, target, ceiling, flying }) {
    if (this.#level > ceiling) this.#level = Math.max(0, ceiling);
    const line = this.estimate(now, flying);
    const rate = this.#rates[this.#level] ?? 0;
    if (line !== null && this.#level > 0 && this.#tooThin(line, rate, margin < target / 2, now)) {
      this.#lower(line, now);
      return { level: this.#level, cushion: EXTRA_BUFFER, abandon: flying !== null && left(flying) > ABANDON_AFTER };
    }
    const preparing = this.#level < ceiling && line !== null && this.#headroom(line, now);
    if (preparing && margin >= target + EXTRA_BUFFER - FULL_TOLERANCE) {
      this.#level++;
      this.#raisedAt = now;
      this.#headroomSince = Infinity;
    }
    const landing = now - Math.max(this.#raisedAt, this.#loweredAt) < SETTLE_TIME;
    return { level: this.#level, cushion: preparing || landing ? EXTRA_BUFFER : 0, abandon: false };
  }

  /**
   * @param {number} line
   * @param {number} rate
   * @param {boolean} shrinking
   * @param {number} now
   */
  #tooThin(line, rate, shrinking, now) {
    if (now - this.#loweredAt < STEP) return false;
    return line < rate * INSUFFICIENT_RATIO || (line < rate * MARGINAL_RATIO && (shrinking || now - this.#stalledAt < STEP));
  }

  /**
   * Steps down by at least one level, to one that the throughput supports.
   * @param {number} line
   * @param {number} now
   */
  #lower(line, now) {
    if (now - this.#raisedAt < TRIAL_PERIOD) {
      const before = this.#upDelays.get(this.#level);
      this.#upDelays.set(this.#level, before === undefined ? FAILED_UP_DELAY : Math.min(before * 2, MAX_UP_DELAY));
    }
    this.#level--;
    while (this.#level > 0 && (this.#rates[this.#level] ?? 0) > line) this.#level--;
    this.#loweredAt = now;
    this.#headroomSince = Infinity;
    // Samples of the previous level are biased by its part sizes and by the queue that it filled.
    this.#samples.length = 0;
  }

  /**
   * Whether the throughput has had headroom for the next level for long enough.
   * @param {number} line
   * @param {number} now
   */
  #headroom(line, now) {
    const next = this.#level + 1;
    if (line < (this.#rates[next] ?? Infinity) * HEADROOM) {
      this.#headroomSince = Infinity;
      return false;
    }
    this.#headroomSince = Math.min(this.#headroomSince, now);
    return now - this.#headroomSince >= (this.#upDelays.get(next) ?? UP_DELAY);
  }

  /** @param {number} now */
  #forget(now) {
    while (this.#samples[0] && now - this.#samples[0].at > WINDOW) this.#samples.shift();
  }
}

/** Remaining seconds until a part in flight is complete. @param {Flying} flying */
const left = ({ bytes, seconds, total }) => (bytes && total > bytes ? ((total - bytes) * seconds) / bytes : 0);
