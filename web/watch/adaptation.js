/**
 * Which quality the line carries, for a picture that is half a second old: a pure controller.
 *
 * A player that measures from the request on takes the round trip, and the wait for a part that is not made yet, for a thin
 * line: parts of 40 kB that come over 100 ms look like 2 Mbit/s on any line. So only the time from the first byte to the last
 * counts. And every change of level costs round trips that the small buffer has to cover: down only when the line is too thin
 * for what is played, up only after some seconds of headroom and with a buffer that was filled for it.
 * @module
 */

/** Seconds that samples count for: a few keyframes of a second each. */
const WINDOW = 3;
/** Times shorter than a clock of a browser tells well. */
const LEAST_SECONDS = 0.001;
/** What is taken for granted until something was measured, bits a second. */
const FIRST_ESTIMATE = 3_000_000;
const FIRST_HEADROOM = 1.2;
/** A part on its way longer than this from its first byte counts as a sample before it ends. */
const SLOW = 0.4;
/** Below this much of the level's rate the line cannot carry it, whatever is in the buffer. */
const HOPELESS = 0.8;
/** Below this much it cannot when the buffer shrinks as well, and above it a stall has other reasons. */
const NARROW = 1.1;
const HEADROOM = 1.4;
/** Seconds of headroom before the next level is prepared. */
const PATIENCE = 3;
/** The same after that level failed, doubled each time. */
const PENANCE = 15;
const MOST_PENANCE = 120;
/** A level that is left this many seconds after it was taken has failed. */
const TRIAL = 20;
/** Seconds more in the buffer while levels change, and for how long afterwards. */
const CUSHION = 0.3;
const LANDING = 4;
/** How far under its target the margin may be for the buffer to count as full. */
const NEARLY = 0.06;
/** Seconds between two steps down: the first has to show. */
const STEP = 1;
const FORSAKEN = 1;

/** @typedef {{bytes: number, seconds: number, total: number}} Flying a part on its way: so far, since its first byte, in all */

export class Adaptation {
  /** @type {{bits: number, seconds: number, at: number}[]} */
  #samples = [];
  /** Bits a second of each level, lowest first. @type {number[]} */
  #rates = [];
  #level = 0;
  #headroomSince = Infinity;
  #raisedAt = -Infinity;
  #loweredAt = -Infinity;
  #stalledAt = -Infinity;
  /** Seconds of headroom that a level needs after it failed. @type {Map<number, number>} */
  #penance = new Map();

  get level() {
    return this.#level;
  }

  /**
   * Another live stream: begins with what most lines carry. What was measured of the line stays.
   * @param {number[]} rates bits a second, lowest first
   * @param {number} ceiling highest level that makes sense
   * @param {number} now seconds
   */
  begin(rates, ceiling, now) {
    this.#rates = rates;
    this.#penance.clear();
    this.#headroomSince = Infinity;
    const line = this.estimate(now) ?? FIRST_ESTIMATE;
    const fits = rates.findLastIndex((rate, level) => level <= ceiling && rate * FIRST_HEADROOM <= line);
    this.#level = Math.max(0, fits);
  }

  /**
   * Somebody else chose: the viewer, or the player because a level is broken.
   * @param {number} level
   */
  set(level) {
    if (level === this.#level || level < 0 || level >= this.#rates.length) return;
    this.#level = level;
    this.#headroomSince = Infinity;
  }

  /**
   * A part has come.
   * @param {number} bytes
   * @param {number} seconds from its first byte to its last
   * @param {number} now
   */
  heard(bytes, seconds, now) {
    this.#samples.push({ bits: bytes * 8, seconds: Math.max(seconds, LEAST_SECONDS), at: now });
    this.#forget(now);
  }

  /** The picture stood still. @param {number} now */
  stalled(now) {
    this.#stalledAt = now;
    this.#headroomSince = Infinity;
  }

  /**
   * Bits a second that the line carries; null: nothing came lately.
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
    if (!flying || flying.seconds < SLOW) return known;
    const slow = (flying.bytes * 8) / flying.seconds;
    return known === null ? slow : Math.min(known, slow);
  }

  /**
   * @param {object} state
   * @param {number} state.now
   * @param {number} state.margin seconds left to play when the next part comes
   * @param {number} state.target what it should be, without the cushion
   * @param {number} state.ceiling
   * @param {Flying | null} state.flying
   * @returns {{level: number, cushion: number, abandon: boolean}} `cushion`: seconds that the buffer should hold in addition;
   *   `abandon`: the part on its way takes too long to wait for
   */
  tick({ now, margin, target, ceiling, flying }) {
    if (this.#level > ceiling) this.#level = Math.max(0, ceiling);
    const line = this.estimate(now, flying);
    const rate = this.#rates[this.#level] ?? 0;
    if (line !== null && this.#level > 0 && this.#tooThin(line, rate, margin < target / 2, now)) {
      this.#lower(line, now);
      return { level: this.#level, cushion: CUSHION, abandon: flying !== null && left(flying) > FORSAKEN };
    }
    const preparing = this.#level < ceiling && line !== null && this.#headroom(line, now);
    if (preparing && margin >= target + CUSHION - NEARLY) {
      this.#level++;
      this.#raisedAt = now;
      this.#headroomSince = Infinity;
    }
    const landing = now - Math.max(this.#raisedAt, this.#loweredAt) < LANDING;
    return { level: this.#level, cushion: preparing || landing ? CUSHION : 0, abandon: false };
  }

  /**
   * @param {number} line
   * @param {number} rate
   * @param {boolean} shrinking
   * @param {number} now
   */
  #tooThin(line, rate, shrinking, now) {
    if (now - this.#loweredAt < STEP) return false;
    return line < rate * HOPELESS || (line < rate * NARROW && (shrinking || now - this.#stalledAt < STEP));
  }

  /**
   * To what the line carries, at least one level.
   * @param {number} line
   * @param {number} now
   */
  #lower(line, now) {
    if (now - this.#raisedAt < TRIAL) {
      const before = this.#penance.get(this.#level);
      this.#penance.set(this.#level, before === undefined ? PENANCE : Math.min(before * 2, MOST_PENANCE));
    }
    this.#level--;
    while (this.#level > 0 && (this.#rates[this.#level] ?? 0) > line) this.#level--;
    this.#loweredAt = now;
    this.#headroomSince = Infinity;
    // What came at the other level's size, over a queue that it filled, says little of what comes now.
    this.#samples.length = 0;
  }

  /**
   * Whether the next level had room for long enough.
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
    return now - this.#headroomSince >= (this.#penance.get(next) ?? PATIENCE);
  }

  /** @param {number} now */
  #forget(now) {
    while (this.#samples[0] && now - this.#samples[0].at > WINDOW) this.#samples.shift();
  }
}

/** Seconds until a part on its way is there. @param {Flying} flying */
const left = ({ bytes, seconds, total }) => (bytes && total > bytes ? ((total - bytes) * seconds) / bytes : 0);
