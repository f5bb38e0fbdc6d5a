/**
 * What the page says when a meeting cannot be entered or has ended: by the server's reasons and error codes.
 * @module
 */

/** @typedef {import('./icons.js').IconName} IconName */
/** @typedef {{title: string, text: string, icon: IconName, again: boolean}} Ending */

/** @type {Record<string, Ending>} */
const ENDINGS = {
  left: { title: 'You left the meeting', text: 'See you next time.', icon: 'check', again: true },
  kicked: { title: 'You were removed', text: 'Someone who runs this meeting removed you from it.', icon: 'kick', again: false },
  denied: { title: 'You were not let in', text: 'Someone who runs this meeting declined your request.', icon: 'door', again: false },
  duplicate_identity: {
    title: 'You joined somewhere else',
    text: 'The same person joined this meeting from another tab or device. Only one can be here at a time.',
    icon: 'people',
    again: true,
  },
  taken_over: { title: 'You are here in another tab', text: 'This meeting goes on in the other tab.', icon: 'people', again: true },
  room_closed: { title: 'The meeting has ended', text: 'Someone who runs this meeting ended it for everyone.', icon: 'check', again: false },
  room_locked: { title: 'This meeting is locked', text: 'Ask someone inside to unlock it, then try again.', icon: 'lock', again: true },
  room_full: { title: 'This meeting is full', text: 'Wait for someone to leave, then try again.', icon: 'people', again: true },
  at_capacity: { title: 'The server is full', text: 'Too many meetings are going on at once. Try again in a little while.', icon: 'people', again: true },
  token_expired: { title: 'Your invitation has expired', text: 'Ask whoever invited you for a new link.', icon: 'link', again: false },
  token_missing: { title: 'You need an invitation', text: 'Open the link you were given.', icon: 'link', again: false },
  token_revoked: { title: 'Your invitation is no longer valid', text: 'You were removed from this meeting.', icon: 'link', again: false },
  draining: { title: 'The server is restarting', text: 'Try again in a moment.', icon: 'wifiOff', again: true },
  timeout: { title: 'You were disconnected', text: 'Your connection was gone for too long.', icon: 'wifiOff', again: true },
  websocket_blocked: {
    title: 'Your network blocks the connection',
    text: 'The server answers, but its WebSocket does not open. A proxy, a firewall or an extension may block WebSockets. Try another network.',
    icon: 'wifiOff',
    again: true,
  },
  unreachable: { title: 'The server cannot be reached', text: 'Check your connection, then try again.', icon: 'wifiOff', again: true },
};

/**
 * @param {string} reason
 * @param {string} message the server's own sentence
 * @returns {Ending}
 */
export function ending(reason, message) {
  const known = ENDINGS[reason];
  if (known) return known;
  if (reason.startsWith('token') || reason === 'not_authorized') {
    return { title: 'This invitation does not work', text: message || 'Ask whoever invited you for a new link.', icon: 'link', again: false };
  }
  return { title: 'The meeting was interrupted', text: message || 'Something went wrong.', icon: 'warn', again: true };
}

/** @type {Record<string, string>} */
const REFUSED = {
  rate_limited: 'There were too many changes in a short time. Try again in a moment.',
  not_authorized: 'You may not share it in this meeting.',
  internal: 'The server made a mistake. Try again.',
};

/**
 * Why something could not be shared.
 * @param {Error & {code?: unknown}} error
 */
export function refusalWords({ code, message }) {
  // A DOMException has a number as its code: the browser failed, not the server.
  if (typeof code !== 'string') return 'The browser could not send it. Try again.';
  return REFUSED[code] ?? message;
}

/** Why no picture is shown although there is one, by the subscription's reason. @type {Record<string, string>} */
export const PAUSED = {
  congestion: 'Paused: slow connection',
  no_layer: 'Waiting for the picture',
  last_n: 'Not shown: only the last speakers are',
  permission: 'Not allowed',
  codec: 'This browser cannot show it',
};

/** @type {ReadonlyArray<[string, string]>} */
export const SHORTCUTS = [
  ['M', 'Microphone on or off'],
  ['Space', 'Hold to talk while muted'],
  ['V', 'Camera on or off'],
  ['S', 'Share your screen'],
  ['H', 'Raise or lower your hand'],
  ['C', 'Chat'],
  ['P', 'People'],
  ['G', 'Grid or speaker layout'],
  ['F', 'Full screen'],
  ['I', 'Connection statistics'],
  ['?', 'This list'],
  ['Esc', 'Close what is open'],
];

export const REACTIONS = /** @type {const} */ ({
  '👍': 'Thumbs up',
  '👏': 'Applause',
  '❤️': 'Heart',
  '😂': 'Laughter',
  '😮': 'Surprise',
  '🎉': 'Celebration',
});
