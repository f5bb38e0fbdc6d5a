/**
 * Why a picture is as it is, in words for the person who looks at it. Pure.
 * @module
 */

/** @typedef {import('../client/types.js').Account} Account */
/** @typedef {import('../client/types.js').Decision} Decision */
/** @typedef {import('../client/types.js').Picture} Picture */
/** @typedef {'good' | 'warning' | 'severe'} Grade */

/** Seconds up to which a value is good, and beyond which it is severe. */
const LIMITS = { latency: [0.1, 0.3], jitter: [0.015, 0.05] };
const LOSS = [0.02, 0.05];
/** @type {Record<Grade, string>} */
export const GRADES = { good: 'good', warning: 'high', severe: 'too high' };

/** @param {number} bits a second */
export const rate = (bits) => (bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bits / 1000)} kbit/s`);
/** @param {number} share */
export const percent = (share) => `${(share * 100).toFixed(share && share < 0.1 ? 1 : 0)} %`;
/** About: two figures are all that an estimate is good for. @param {number} bits a second */
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
  cpu: "The sender's computer is busy and sends less.",
  bandwidth: "The sender's connection is slow and carries less.",
  other: "The sender's browser sends less.",
};

/**
 * @param {Picture} picture
 * @param {Account} account
 * @returns {{grade: Grade, text: string}} `good`: nothing is amiss; `warning`: less than wished; `severe`: no picture
 */
export function why(picture, account) {
  const { paused, cause, height, topHeight, limitation } = picture;
  const carries = account.estimate ? `about ${about(account.estimate)}` : 'no more';
  if (paused) return { grade: ['hidden', 'muted', 'last_n'].includes(cause) ? 'good' : 'severe', text: PAUSES[cause]?.(carries) ?? 'Paused.' };
  const held = HELD[cause]?.(carries, account);
  if (held) return { grade: 'warning', text: held };
  const sender = SENDER[/** @type {keyof typeof SENDER} */ (limitation)];
  if (sender) return { grade: 'warning', text: sender };
  return { grade: 'good', text: height && height >= topHeight ? 'The best that is sent.' : 'As sharp as its place on your screen needs.' };
}

/** @type {Record<string, (carries: string) => string>} */
const PAUSES = {
  hidden: () => 'Paused: you do not look at it.',
  wish: () => 'Paused: you do not look at it.',
  muted: () => 'The sender has turned it off.',
  last_n: () => 'Not shown: in a meeting as large as this one only those who spoke last are. Pin it to see it.',
  silent: () => 'Waiting for the sender: nothing is sent now.',
  codec: () => 'This browser cannot show it.',
  budget: (carries) => `Paused: your connection carries ${carries}.`,
  hold: (carries) => `Paused for a while: your connection carries ${carries}.`,
  tier: (carries) => `Paused: your connection carries ${carries}.`,
};

/** @type {Record<string, (carries: string, account: Account) => string>} */
const HELD = {
  budget: (carries) => `Smaller because your connection carries ${carries}.`,
  hold: () => 'Smaller for a while: your connection failed to carry more a moment ago.',
  settling: () => 'A better picture is about to come.',
  tier: (carries, { rule, height }) => {
    if (rule === 'delay') return 'Smaller because your connection has become slow to answer.';
    if (rule === 'loss') return 'Smaller because packets get lost on the way to you.';
    return `At most ${height} lines: the rule here for a connection that carries ${carries}.`;
  },
};

/**
 * One line of what happened.
 * @param {Decision} decision
 * @param {(track: string) => string} nameOf whose picture it is: `Ada`, `Ada's screen`, or `You` for one's own
 * @returns {string}
 */
export function told({ kind, cause, track, before, after, rate: carried }, nameOf) {
  const name = track ? nameOf(track) : 'You';
  const lines = before && after ? ` (${Math.round(before)} → ${Math.round(after)} lines)` : '';
  const carries = carried ? `your connection carries about ${about(carried)}` : 'your connection';
  switch (kind) {
    case 'layer_down':
      return `${name}: smaller picture${lines}. ${DOWN[cause]?.(carries) ?? ''}`.trim();
    case 'layer_up':
      return `${name}: sharper picture${lines}. ${UP[cause] ?? ''}`.trim();
    case 'paused':
      return `${name}: paused. ${DOWN[cause]?.(carries) ?? ''}`.trim();
    case 'resumed':
      return `${name}: the picture ${cause === 'silent' ? 'has begun' : 'is back'}.`;
    case 'keyframe':
      return keyframe(name, cause);
    case 'loss':
      return loss(cause, before, after);
    case 'estimate':
      return `Your connection carries ${after < before ? 'less' : 'more'} now: about ${about(after)}, before ${about(before)}.`;
    case 'tier':
      return `Pictures may have ${Math.round(after)} lines now, before ${Math.round(before)}. ${RULES[cause] ?? ''}`.trim();
    case 'limited':
      return limited(name, cause);
    default:
      return '';
  }
}

const sentence = (/** @type {string} */ text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

/** @type {Record<string, (carries: string) => string>} */
const DOWN = {
  budget: sentence,
  hold: sentence,
  tier: () => 'The rules of this server for such a connection.',
  wish: () => 'Its place on your screen is smaller.',
  hidden: () => 'You do not look at it.',
  muted: () => 'The sender turned it off.',
  last_n: () => 'Others have spoken since.',
  publisher: () => 'The sender sends less.',
  silent: () => 'The sender sends nothing.',
  codec: () => 'This browser cannot show it.',
};

/** @type {Record<string, string>} */
const UP = {
  budget: 'Your connection carries it again.',
  hold: 'Your connection carries it again.',
  tier: 'The rules of this server allow it again.',
  publisher: 'The sender sends more.',
  wish: 'Its place on your screen is larger.',
};

/** @type {Record<string, string>} */
const RULES = { estimate: 'By what your connection carries.', delay: 'Your connection has become slow to answer.', loss: 'Packets get lost on the way to you.' };

/**
 * @param {string} name
 * @param {string} cause
 */
function keyframe(name, cause) {
  if (name === 'You') return cause === 'viewer' ? 'Somebody needed a whole picture of you.' : 'The server asked you for a whole picture.';
  if (cause === 'viewer') return `${name}: your browser asked for a whole picture, for a part was missing.`;
  return `${name}: a whole picture was asked for again.`;
}

/**
 * @param {string} cause
 * @param {number} before
 * @param {number} after
 */
function loss(cause, before, after) {
  const where = cause === 'sending' ? 'on the way from you' : 'on the way to you';
  return after > before ? `Packets get lost ${where}: ${percent(after)}.` : `Packets no longer get lost ${where}.`;
}

/**
 * @param {string} name
 * @param {string} cause
 */
function limited(name, cause) {
  const mine = name === 'You';
  const whose = mine ? 'Your' : `${name}'s`;
  if (cause === 'none') return `${mine ? 'You send' : `${name} sends`} the full picture again.`;
  const what = cause === 'cpu' ? 'computer is busy' : cause === 'uplink' ? 'connection is slow' : 'browser holds back';
  return `${whose} ${what}: the picture ${mine ? 'of you ' : ''}is smaller.`;
}
