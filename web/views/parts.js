/**
 * Small view components shared by all views.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { icon } from './icons.js';

/** @typedef {import('./icons.js').IconName} IconName */

/**
 * A round button with an icon. Its label is its accessible name and tooltip.
 * @param {object} options
 * @param {string} options.label
 * @param {IconName} options.icon
 * @param {() => void} options.click
 * @param {string} [options.testid]
 * @param {string} [options.look] more CSS classes
 * @param {boolean} [options.pressed]
 * @param {boolean} [options.expanded]
 * @param {string} [options.key] keyboard shortcut
 * @param {number} [options.badge]
 * @param {boolean} [options.disabled]
 * @param {string} [options.word] shown beside the icon
 */
export const button = ({ label, icon: name, click, testid, look = '', pressed, expanded, key, badge = 0, disabled = false, word = '' }) => {
  // The accessible name includes the visible text, so that voice control finds the button.
  const spoken = word && !label.includes(word) ? `${label} ${word}` : label;
  return html`
  <button
    type="button"
    class="button ${look}"
    aria-label=${badge ? `${spoken}, ${badge} new` : spoken}
    data-tip=${key ? `${label} (${key})` : label}
    data-testid=${testid ?? nothing}
    aria-pressed=${pressed === undefined ? nothing : String(pressed)}
    aria-expanded=${expanded === undefined ? nothing : String(expanded)}
    aria-keyshortcuts=${key ?? nothing}
    ?disabled=${disabled}
    @click=${click}
  >
    ${icon(name)}${word ? html`<span class="word">${word}</span>` : nothing}
    ${badge ? html`<span class="badge" aria-hidden="true">${badge > 99 ? '99+' : badge}</span>` : nothing}
  </button>
`;
};

/** @param {string} name */
export function initials(name) {
  const words = name.trim().split(/[\s._-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => [...(word ?? '?')][0] ?? '').join('').toUpperCase();
}

const HUES = 8;

/** One of eight colours, constant per identity. @param {string} identity */
export function hue(identity) {
  let sum = 0;
  for (const letter of identity) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return sum % HUES;
}

/**
 * @param {string} name
 * @param {string} identity
 */
export const avatar = (name, identity) => html`<span class="avatar hue-${hue(identity)}" aria-hidden="true">${initials(name)}</span>`;

const QUALITY = {
  excellent: { bars: 3, label: 'Connection: excellent' },
  good: { bars: 2, label: 'Connection: good' },
  poor: { bars: 1, label: 'Connection: poor' },
  lost: { bars: 0, label: 'Connection: lost' },
};

/** @param {import('../client/types.js').Quality} quality */
export const bars = (quality) => html`
  <span class="bars bars-${quality}" role="img" aria-label=${QUALITY[quality].label} title=${QUALITY[quality].label}>
    ${[1, 2, 3].map((bar) => html`<i class=${bar <= QUALITY[quality].bars ? 'on' : ''}></i>`)}
  </span>
`;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

/** @param {number} at seconds since 1970 */
export const time = (at) => clock.format(at * 1000);
