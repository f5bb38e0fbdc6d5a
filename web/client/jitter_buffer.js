/**
 * Jitter buffer delay of received video: none on a clean path, one and a half round trips on a lossy one, so that
 * retransmissions arrive in time and the video is slightly delayed instead of freezing. By default, browsers wait for
 * jitter only. W3C webrtc-extensions, RTCRtpReceiver.jitterBufferTarget.
 * @module
 */

const SAMPLE_MS = 2000;
/** Fraction of retransmitted packets above which the delay is raised, and below which it ends after several updates. */
const LOSSY = 0.02;
const CLEAN = 0.005;
const CLEAN_SAMPLES = 5;
const ROUNDS = 1.5;
/** Time to detect the gap: two frames of a slow camera. */
const NOTICE_MS = 130;
const MOST_MS = 500;

/** @typedef {{received: number, asked: number, rtt: number}} Sample totals over all video tracks; seconds */

/** Decides from consecutive statistics. */
export class JitterBufferTarget {
  /** @type {Sample | null} */
  #before = null;
  #clean = 0;
  /** @type {number | null} milliseconds; null: the browser's default */
  target = null;

  /**
   * @param {Sample} sample
   * @returns {number | null} the new target
   */
  update(sample) {
    const before = this.#before;
    this.#before = sample;
    if (!before || sample.received < before.received) return this.target;
    const received = sample.received - before.received;
    const share = received ? (sample.asked - before.asked) / received : 0;
    if (share >= LOSSY) {
      this.#clean = 0;
      const wanted = Math.min(MOST_MS, Math.round(ROUNDS * sample.rtt * 1000 + NOTICE_MS));
      // Ignore small changes of the round-trip time: each buffer change makes the video uneven.
      if (this.target === null || Math.abs(wanted - this.target) > 50) this.target = wanted;
    } else if (share < CLEAN && this.target !== null && ++this.#clean >= CLEAN_SAMPLES) {
      this.target = null;
    }
    return this.target;
  }
}

/**
 * @param {Iterable<any>} report result of `getStats`
 * @returns {Sample}
 */
export function sampleOf(report) {
  const sample = { received: 0, asked: 0, rtt: 0 };
  for (const entry of report) {
    if (entry.type === 'inbound-rtp' && entry.kind === 'video') {
      sample.received += entry.packetsReceived ?? 0;
      sample.asked += entry.nackCount ?? 0;
    } else if (entry.type === 'candidate-pair' && entry.nominated && entry.currentRoundTripTime) {
      sample.rtt = Math.max(sample.rtt, entry.currentRoundTripTime);
    }
  }
  return sample;
}

/**
 * @param {RTCPeerConnection} connection
 * @returns {() => void} stops
 */
export function adaptJitterBuffer(connection) {
  const controller = new JitterBufferTarget();
  const timer = setInterval(async () => {
    if (connection.connectionState !== 'connected') return;
    const target = controller.update(sampleOf((await connection.getStats()).values()));
    for (const receiver of connection.getReceivers()) {
      if (receiver.track.kind === 'video' && 'jitterBufferTarget' in receiver && receiver.jitterBufferTarget !== target) {
        receiver.jitterBufferTarget = target;
      }
    }
  }, SAMPLE_MS);
  return () => clearInterval(timer);
}
