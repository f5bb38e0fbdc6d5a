/**
 * Reports the browser's measurements to the server every few seconds, for operators, and so that viewers learn when a
 * sender's computer or connection is the cause. `reportOf` is pure.
 * @module
 */

/** @typedef {import('./stats.js').Digest} Digest */
/** @typedef {{rtt: number, jitter: number, loss: number, freezes: number, frozen: number, concealed: number, limited: Array<{track: string, reason: string}>}} Report */
/** @typedef {Map<string, {freezes: number, frozen: number}>} Totals by track, since the start */

const EVERY_MS = 5000;
/** Limits of the server's schema, because browsers may report any value. */
const MOST = { seconds: 60, freezes: 10_000, frozen: 3600, limited: 64 };
const REASONS = ['cpu', 'bandwidth', 'other'];

/**
 * @param {Digest} digest rates since the last report
 * @param {Totals} totals at the last report; updated
 * @returns {Report}
 */
export function reportOf(digest, totals) {
  const tracks = Object.entries(digest.tracks);
  const received = tracks.filter(([, { direction }]) => direction === 'subscribe');
  const worst = (/** @type {(track: import('./stats.js').TrackDigest) => number} */ value, /** @type {number} */ most) =>
    bounded(Math.max(0, ...received.map(([, track]) => value(track))), most);
  let freezes = 0;
  let frozen = 0;
  for (const [id, track] of received) {
    const before = totals.get(id) ?? { freezes: 0, frozen: 0 };
    freezes += Math.max(0, track.freezes - before.freezes);
    frozen += Math.max(0, track.frozen - before.frozen);
    totals.set(id, { freezes: track.freezes, frozen: track.frozen });
  }
  const limited = tracks.filter(([, { direction, limitation }]) => direction === 'publish' && REASONS.includes(limitation));
  return {
    rtt: bounded(Math.max(digest.publish.rtt, digest.subscribe.rtt), MOST.seconds),
    jitter: worst(({ jitter }) => jitter, MOST.seconds),
    loss: worst(({ loss }) => loss, 1),
    freezes: Math.round(bounded(freezes, MOST.freezes)),
    frozen: bounded(frozen, MOST.frozen),
    concealed: worst(({ concealing }) => concealing, 1),
    limited: limited.slice(0, MOST.limited).map(([track, { limitation }]) => ({ track, reason: limitation })),
  };
}

/**
 * @param {number} value
 * @param {number} most
 */
const bounded = (value, most) => (Number.isFinite(value) ? Math.round(Math.min(Math.max(0, value), most) * 1e4) / 1e4 : 0);

export class Reporter {
  /** @type {Totals} */
  #totals = new Map();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {() => Promise<Digest>} look
   * @param {(report: Report) => void} send
   */
  constructor(look, send) {
    this.look = look;
    this.send = send;
  }

  /** Idempotent. */
  start() {
    this.#timer ??= setInterval(() => this.#report(), EVERY_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #report() {
    const digest = await this.look();
    if (this.#timer) this.send(reportOf(digest, this.#totals));
  }
}
