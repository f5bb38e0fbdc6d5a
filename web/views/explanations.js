/**
 * Texts that explain the quality of each video to its viewer. Pure.
 * @module
 */

/** @typedef {import('../client/types.js').Account} Account */
/** @typedef {import('../client/types.js').Decision} Decision */
/** @typedef {import('../client/types.js').Picture} Picture */
/** @typedef {'good' | 'warning' | 'severe'} Grade */

/** Limits in seconds: below the first a value is good, above the second it is severe. */
const LIMITS = { latency: [0.1, 0.3], jitter: [0.015, 0.05] };
const LOSS = [0.02, 0.05];
/** @type {Record<Grade, string>} */
export const GRADES = { good: 'good', warning: 'high', severe: 'too high' };

/** @param {number} bits a second */
export const rate = (bits) => (bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bits / 1000)} kbit/s`);
/** @param {number} share */
export const percent = (share) => `${(share * 100).toFixed(share && share < 0.1 ? 1 : 0)} %`;
/** Rounds an estimate to two digits. @param {number} bits a second */
const about = (bits) => rate(Number(bits.toPrecision(2)));

/**
 * @param {'latency' | 'jitter' | 'loss'} what
 * @param {number} value seconds, or a share of 1
 * @returns {Grade}
 */
export function grade(what, value) {
  const [good, warning] = what === 'loss' ? LOSS : LIMITS[what];
  if (value < /** @type {number} */ (good)) return 'good';
  return value <= /** @type {number} */ (warning) ? 'warning' : 'severe';
}

const SENDER = {
  cpu: "Limited by the sender's CPU.",
  bandwidth: "Limited by the sender's connection.",
  other: "Limited by the sender's browser.",
};

/**
 * @param {Picture} picture
 * @param {Account} account
 * @returns {{grade: Grade, text: string}} `good`: as requested; `warning`: reduced quality; `severe`: no video
 */
export function why(picture, account) {
  const { paused, cause, height, topHeight, limitation } = picture;
  const bandwidth = account.estimate ? ` (about ${about(account.estimate)})` : '';
  if (paused) return { grade: ['hidden', 'muted', 'last_n'].includes(cause) ? 'good' : 'severe', text: PAUSES[cause]?.(bandwidth) ?? 'Paused.' };
  const reduced = REDUCED[cause]?.(bandwidth, account);
  if (reduced) return { grade: 'warning', text: reduced };
  const sender = SENDER[/** @type {keyof typeof SENDER} */ (limitation)];
  if (sender) return { grade: 'warning', text: sender };
  return { grade: 'good', text: height && height >= topHeight ? 'Best available quality.' : 'Full quality for its size on your screen.' };
}

/** @type {Record<string, (bandwidth: string) => string>} */
const PAUSES = {
  hidden: () => 'Paused: not visible.',
  requested: () => 'Paused: not visible.',
  muted: () => 'Turned off by the sender.',
  last_n: () => 'Not shown: large meetings show only recent speakers. Pin to show.',
  silent: () => 'Waiting for video from the sender.',
  codec: () => 'Your browser does not support this video format.',
  budget: (bandwidth) => `Paused: low bandwidth${bandwidth}.`,
  hold: (bandwidth) => `Paused for a moment: low bandwidth${bandwidth}.`,
  tier: (bandwidth) => `Paused: low bandwidth${bandwidth}.`,
};

/** @type {Record<string, (bandwidth: string, account: Account) => string>} */
const REDUCED = {
  budget: (bandwidth) => `Reduced quality: low bandwidth${bandwidth}.`,
  hold: () => 'Reduced quality for a moment: the last increase exceeded your bandwidth.',
  settling: () => 'Quality is increasing.',
  tier: (bandwidth, { rule, height }) => {
    if (rule === 'delay') return 'Reduced quality: high latency.';
    if (rule === 'loss') return 'Reduced quality: packet loss.';
    return `Limited to ${height}p by the server for your bandwidth${bandwidth}.`;
  },
};

/**
 * Text of one entry of the decision log.
 * @param {Decision} decision
 * @param {(track: string) => string} nameOf owner of a track: `Ada`, `Ada's screen`, or `You` for own tracks
 * @returns {string}
 */
export function describe({ kind, cause, track, before, after, rate: available }, nameOf) {
  const name = track ? nameOf(track) : 'You';
  const heights = before && after ? ` (${Math.round(before)}p → ${Math.round(after)}p)` : '';
  const bandwidth = available ? `Available bandwidth: about ${about(available)}.` : 'Low bandwidth.';
  switch (kind) {
    case 'layer_down':
      return `${name}: quality reduced${heights}. ${DOWN[cause]?.(bandwidth) ?? ''}`.trim();
    case 'layer_up':
      return `${name}: quality increased${heights}. ${UP[cause] ?? ''}`.trim();
    case 'paused':
      return `${name}: video paused. ${DOWN[cause]?.(bandwidth) ?? ''}`.trim();
    case 'resumed':
      return `${name}: video ${cause === 'silent' ? 'started' : 'resumed'}.`;
    case 'keyframe':
      return keyframe(name, cause);
    case 'loss':
      return loss(cause, before, after);
    case 'estimate':
      return `Bandwidth ${after < before ? 'decreased' : 'increased'} to about ${about(after)} (was ${about(before)}).`;
    case 'tier':
      return `Maximum video resolution: ${Math.round(after)}p (was ${Math.round(before)}p). ${RULES[cause] ?? ''}`.trim();
    case 'limited':
      return limited(name, cause);
    default:
      return '';
  }
}

/** @type {Record<string, (bandwidth: string) => string>} */
const DOWN = {
  budget: (bandwidth) => bandwidth,
  hold: (bandwidth) => bandwidth,
  tier: () => 'Server limit for this bandwidth.',
  requested: () => 'Shown at a smaller size.',
  hidden: () => 'Not visible.',
  muted: () => 'Turned off by the sender.',
  last_n: () => 'Others have spoken more recently.',
  publisher: () => 'The sender reduced its quality.',
  silent: () => 'The sender sends no video.',
  codec: () => 'Your browser does not support this video format.',
};

/** @type {Record<string, string>} */
const UP = {
  budget: 'More bandwidth available.',
  hold: 'More bandwidth available.',
  tier: 'Server limit raised.',
  publisher: 'The sender increased its quality.',
  requested: 'Shown at a larger size.',
};

/** @type {Record<string, string>} */
const RULES = { estimate: 'Your bandwidth changed.', delay: 'High latency.', loss: 'Packet loss.' };

/**
 * @param {string} name
 * @param {string} cause
 */
function keyframe(name, cause) {
  if (name === 'You') return cause === 'viewer' ? 'Keyframe requested by a participant.' : 'Keyframe requested by the server.';
  return cause === 'viewer' ? `${name}: keyframe requested by your browser after packet loss.` : `${name}: keyframe requested again.`;
}

/**
 * @param {string} cause
 * @param {number} before
 * @param {number} after
 */
function loss(cause, before, after) {
  const where = cause === 'sending' ? 'Upload' : 'Download';
  return after > before ? `${where} packet loss: ${percent(after)}.` : `${where} packet loss ended.`;
}

/**
 * @param {string} name
 * @param {string} cause
 */
function limited(name, cause) {
  const whose = name === 'You' ? 'Your' : `${name}'s`;
  if (cause === 'none') return `${whose} video is back to full quality.`;
  const what = cause === 'cpu' ? 'CPU' : cause === 'uplink' ? 'connection' : 'browser';
  return `${whose} video quality is limited by the ${what}.`;
}
