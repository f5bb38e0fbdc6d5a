/**
 * Texts for the end of a meeting and for failed joins, by the server's reasons and error codes.
 * @module
 */

/** @typedef {import('./icons.js').IconName} IconName */
/** @typedef {{title: string, text: string, icon: IconName, again: boolean}} Ending */

/** @type {Record<string, Ending>} */
const ENDINGS = {
  left: { title: 'You left the meeting', text: 'See you next time.', icon: 'check', again: true },
  kicked: { title: 'You were removed', text: 'A host removed you from this meeting.', icon: 'kick', again: false },
  denied: { title: 'You were not let in', text: 'A host declined your request to join.', icon: 'door', again: false },
  duplicate_identity: {
    title: 'You joined on another device',
    text: 'Your invitation was used in another tab or on another device. Only one can be in the meeting at a time.',
    icon: 'people',
    again: true,
  },
  taken_over: { title: 'You are here in another tab', text: 'The meeting continues in the other tab.', icon: 'people', again: true },
  room_closed: { title: 'The meeting has ended', text: 'A host ended the meeting for everyone.', icon: 'check', again: false },
  room_locked: { title: 'This meeting is locked', text: 'Ask a host to unlock it, then try again.', icon: 'lock', again: true },
  room_full: { title: 'This meeting is full', text: 'Try again when someone has left.', icon: 'people', again: true },
  at_capacity: { title: 'The server is full', text: 'The server has reached its capacity. Try again later.', icon: 'people', again: true },
  token_expired: { title: 'Your invitation has expired', text: 'Ask the host for a new link.', icon: 'link', again: false },
  token_missing: { title: 'You need an invitation', text: 'Open your invitation link.', icon: 'link', again: false },
  token_revoked: { title: 'Your invitation is no longer valid', text: 'You were removed from this meeting.', icon: 'link', again: false },
  draining: { title: 'The server is restarting', text: 'Try again in a moment.', icon: 'wifiOff', again: true },
  timeout: { title: 'You were disconnected', text: 'Your connection was interrupted for too long.', icon: 'wifiOff', again: true },
  websocket_blocked: {
    title: 'Your network blocks the connection',
    text: 'The server is reachable, but WebSocket connections fail. A proxy, firewall or extension blocks them. Try another network.',
    icon: 'wifiOff',
    again: true,
  },
  unreachable: { title: 'Cannot reach the server', text: 'Check your connection, then try again.', icon: 'wifiOff', again: true },
};

/**
 * @param {string} reason
 * @param {string} message error message of the server
 * @returns {Ending}
 */
export function ending(reason, message) {
  const known = ENDINGS[reason];
  if (known) return known;
  if (reason.startsWith('token') || reason === 'not_authorized') {
    return { title: 'This invitation does not work', text: message || 'Ask the host for a new link.', icon: 'link', again: false };
  }
  return { title: 'The meeting was interrupted', text: message || 'Something went wrong.', icon: 'warn', again: true };
}

/** @type {Record<string, string>} */
const REFUSED = {
  rate_limited: 'Too many changes in a short time. Try again in a moment.',
  not_authorized: 'You do not have permission to share it in this meeting.',
  internal: 'Server error. Try again.',
};

/**
 * Reason why something could not be shared.
 * @param {Error & {code?: unknown}} error
 */
export function refusalWords({ code, message }) {
  // A DOMException has a numeric code: the browser failed, not the server.
  if (typeof code !== 'string') return 'The browser could not share it. Try again.';
  return REFUSED[code] ?? message;
}

/** Text for a paused video, by the reason of the subscription. @type {Record<string, string>} */
export const PAUSED = {
  congestion: 'Paused: slow connection',
  no_layer: 'Waiting for video',
  last_n: 'Only recent speakers are shown',
  permission: 'Not allowed',
  codec: 'Video format not supported',
};

/** @type {ReadonlyArray<[string, string]>} */
export const SHORTCUTS = [
  ['M', 'Turn microphone on or off'],
  ['Space', 'Hold to talk while muted'],
  ['V', 'Turn camera on or off'],
  ['S', 'Share your screen'],
  ['H', 'Raise or lower your hand'],
  ['C', 'Chat'],
  ['P', 'People'],
  ['G', 'Switch between grid and speaker layout'],
  ['F', 'Full screen'],
  ['I', 'Connection statistics'],
  ['?', 'Keyboard shortcuts'],
  ['Esc', 'Close dialog or panel'],
];

export const REACTIONS = /** @type {const} */ ({
  '👍': 'Thumbs up',
  '👏': 'Applause',
  '❤️': 'Heart',
  '😂': 'Laughter',
  '😮': 'Surprise',
  '🎉': 'Celebration',
});
