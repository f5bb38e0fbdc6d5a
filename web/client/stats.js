/**
 * Condenses the browser's statistics reports (W3C webrtc-stats) into rates since the last call.
 * @module
 */

/**
 * @typedef {{rid: string, active: boolean, width: number, height: number, fps: number, bitrate: number}} LayerDigest
 */
/**
 * One sent or received track. Bits per second, seconds, and fractions of 1.
 * @typedef {object} TrackDigest
 * @property {'publish' | 'subscribe'} direction
 * @property {'audio' | 'video'} kind
 * @property {string} codec
 * @property {number} bitrate
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {number} loss
 * @property {number} jitter
 * @property {number} freezes since the start
 * @property {number} frozen seconds since the start
 * @property {number} frames decoded or encoded since the start
 * @property {number} energy of the audio since the start
 * @property {number} concealed fraction of concealed audio samples since the start
 * @property {number} concealing the same fraction since the last call
 * @property {number} delay of the jitter buffer
 * @property {string} limitation reason for reduced quality at the sender: `cpu`, `bandwidth`, or empty
 * @property {LayerDigest[]} layers of a published video
 */
/** @typedef {{state: string, rtt: number, incoming: number, outgoing: number, available: number, protocol: string}} PathDigest */
/** @typedef {{publish: PathDigest, subscribe: PathDigest, tracks: Record<string, TrackDigest>}} Digest */
/** @typedef {Map<string, {at: number, values: Record<string, number>}>} Memory values of the last call, by statistics id */
/** @typedef {'publish' | 'subscribe'} Direction */

/**
 * @param {{publish: RTCStatsReport | null, subscribe: RTCStatsReport | null}} reports
 * @param {ReadonlyMap<string, string>} trackIds `direction mid` → track id
 * @param {Memory} memory is updated
 * @param {number} now seconds
 * @returns {Digest}
 */
export function digest(reports, trackIds, memory, now) {
  /** @type {Digest} */
  const result = { publish: path(null, 'publish', memory, now), subscribe: path(null, 'subscribe', memory, now), tracks: {} };
  for (const direction of /** @type {Direction[]} */ (['publish', 'subscribe'])) {
    const report = reports[direction];
    if (!report) continue;
    result[direction] = path(report, direction, memory, now);
    for (const entry of report.values()) {
      if (entry.type !== (direction === 'publish' ? 'outbound-rtp' : 'inbound-rtp')) continue;
      const id = trackIds.get(`${direction} ${entry.mid}`);
      if (!id) continue;
      const rate = rates(memory, `${direction} ${entry.id}`, entry, now);
      result.tracks[id] =
        direction === 'publish' ? sent(report, entry, rate, result.tracks[id]) : received(report, entry, rate);
    }
  }
  return result;
}

/**
 * @param {Memory} memory
 * @param {string} key
 * @param {Record<string, any>} entry
 * @param {number} now
 * @returns {(field: string) => number} change per second
 */
function rates(memory, key, entry, now) {
  const before = memory.get(key);
  const values = Object.fromEntries(Object.entries(entry).filter(([, value]) => typeof value === 'number'));
  memory.set(key, { at: now, values });
  return (field) => {
    if (!before || now <= before.at) return 0;
    return Math.max(0, (values[field] ?? 0) - (before.values[field] ?? 0)) / (now - before.at);
  };
}

/**
 * @param {RTCStatsReport | null} report
 * @param {Direction} direction
 * @param {Memory} memory
 * @param {number} now
 * @returns {PathDigest}
 */
function path(report, direction, memory, now) {
  const entries = report ? [...report.values()] : [];
  const transport = entries.find((entry) => entry.type === 'transport');
  const pair =
    report?.get(transport?.selectedCandidatePairId ?? '') ??
    entries.find((entry) => entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded');
  if (!pair) return { state: transport?.dtlsState ?? 'new', rtt: 0, incoming: 0, outgoing: 0, available: 0, protocol: '' };
  const rate = rates(memory, `${direction} ${pair.id}`, pair, now);
  return {
    state: transport?.dtlsState ?? 'connected',
    rtt: pair.currentRoundTripTime ?? 0,
    incoming: rate('bytesReceived') * 8,
    outgoing: rate('bytesSent') * 8,
    available: pair.availableOutgoingBitrate ?? 0,
    protocol: report?.get(pair.localCandidateId)?.protocol ?? '',
  };
}

/**
 * @param {RTCStatsReport} report
 * @param {any} entry
 */
const codecOf = (report, entry) => (report.get(entry.codecId)?.mimeType ?? '').split('/')[1] ?? '';

/**
 * @param {RTCStatsReport} report
 * @param {any} entry
 * @param {(field: string) => number} rate
 * @param {TrackDigest | undefined} others the layers processed so far
 * @returns {TrackDigest}
 */
function sent(report, entry, rate, others) {
  const remote = report.get(entry.remoteId);
  const layer = {
    rid: entry.rid ?? '',
    active: entry.active ?? true,
    width: entry.frameWidth ?? 0,
    height: entry.frameHeight ?? 0,
    fps: rate('framesEncoded'),
    bitrate: rate('bytesSent') * 8,
  };
  const layers = [...(others?.layers ?? []), layer].sort((a, b) => a.width - b.width);
  const limitation = entry.qualityLimitationReason ?? 'none';
  return {
    direction: 'publish',
    kind: entry.kind,
    codec: codecOf(report, entry) || others?.codec || '',
    bitrate: layers.reduce((sum, { bitrate }) => sum + bitrate, 0),
    width: Math.max(...layers.map(({ width }) => width)),
    height: Math.max(...layers.map(({ height }) => height)),
    fps: Math.max(...layers.map(({ fps }) => fps)),
    loss: Math.max(others?.loss ?? 0, remote?.fractionLost ?? 0),
    jitter: Math.max(others?.jitter ?? 0, remote?.jitter ?? 0),
    freezes: 0,
    frozen: 0,
    frames: (others?.frames ?? 0) + (entry.framesEncoded ?? 0),
    energy: report.get(entry.mediaSourceId)?.totalAudioEnergy ?? 0,
    concealed: 0,
    concealing: 0,
    delay: 0,
    limitation: limitation === 'none' ? (others?.limitation ?? '') : limitation,
    layers: entry.kind === 'video' ? layers : [],
  };
}

/**
 * @param {RTCStatsReport} report
 * @param {any} entry
 * @param {(field: string) => number} rate
 * @returns {TrackDigest}
 */
function received(report, entry, rate) {
  const lost = rate('packetsLost');
  const arrived = rate('packetsReceived');
  return {
    direction: 'subscribe',
    kind: entry.kind,
    codec: codecOf(report, entry),
    bitrate: rate('bytesReceived') * 8,
    width: entry.frameWidth ?? 0,
    height: entry.frameHeight ?? 0,
    fps: rate('framesDecoded'),
    loss: lost + arrived ? lost / (lost + arrived) : 0,
    jitter: entry.jitter ?? 0,
    freezes: entry.freezeCount ?? 0,
    frozen: entry.totalFreezesDuration ?? 0,
    frames: entry.framesDecoded ?? 0,
    energy: entry.totalAudioEnergy ?? 0,
    concealed: entry.totalSamplesReceived ? (entry.concealedSamples ?? 0) / entry.totalSamplesReceived : 0,
    concealing: rate('totalSamplesReceived') ? rate('concealedSamples') / rate('totalSamplesReceived') : 0,
    delay: rate('jitterBufferEmittedCount') ? rate('jitterBufferDelay') / rate('jitterBufferEmittedCount') : 0,
    limitation: '',
    layers: [],
  };
}
