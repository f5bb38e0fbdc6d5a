/**
 * Preferences stored by the browser. If storage is blocked, the defaults apply.
 * @module
 */

const KEY = 'aiosfu';
const ROOMS_KEPT = 5;

/**
 * @typedef {object} Preferences
 * @property {string} name
 * @property {boolean} camera on at the start
 * @property {boolean} microphone on at the start
 * @property {{camera: string, microphone: string, speaker: string}} devices
 * @property {import('./types.js').Theme} theme
 * @property {'grid' | 'speaker'} layout
 * @property {string[]} recent
 */

/** @type {Preferences} */
const defaults = {
  name: '',
  camera: true,
  microphone: true,
  devices: { camera: '', microphone: '', speaker: '' },
  theme: 'auto',
  layout: 'grid',
  recent: [],
};

/** @returns {Preferences} */
export function load() {
  try {
    return { ...defaults, ...JSON.parse(localStorage.getItem(KEY) ?? '{}') };
  } catch {
    return defaults;
  }
}

/** @param {Partial<Preferences>} change */
export function save(change) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...load(), ...change }));
  } catch {
    // Private windows may block storage; the choice then lasts until the page closes.
  }
}

/**
 * @param {string} room the room being entered
 * @returns {string[]}
 */
export function visited(room) {
  const recent = [room, ...load().recent.filter((other) => other !== room)].slice(0, ROOMS_KEPT);
  save({ recent });
  return recent;
}

/**
 * The participant name in a token. Empty if it cannot be read.
 * @param {string} token a JWT
 */
export function nameIn(token) {
  try {
    const bytes = atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'));
    const { name } = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (letter) => letter.charCodeAt(0))));
    return typeof name === 'string' ? name : '';
  } catch {
    return '';
  }
}

/**
 * The invitation token, stored for this tab only, so that a reload works and a copied address contains no secret.
 * @param {string} room
 * @param {string} [token] a new one
 */
export function invitation(room, token = '') {
  try {
    if (token) sessionStorage.setItem(`${KEY}:${room}`, token);
    return token || (sessionStorage.getItem(`${KEY}:${room}`) ?? '');
  } catch {
    return token;
  }
}
