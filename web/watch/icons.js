/**
 * Icons of the player in addition to the page's common icons, on the same grid.
 * @module
 */

import { html, svg } from '../vendor/lit-html/lit-html.js';

const SHAPES = {
  play: svg`<path class="fill" d="M8 5.200v13.600a.8.8 0 0 0 1.200.7l10.600-6.800a.8.8 0 0 0 0-1.400L9.200 4.500a.8.8 0 0 0-1.200.7z"/>`,
  pause: svg`<rect class="fill" x="6.5" y="5" width="4" height="14" rx="1.2"/><rect class="fill" x="13.5" y="5" width="4" height="14" rx="1.2"/>`,
  mute: svg`<path d="M4 9.5v5h3.5L12 18.500v-13L7.500 9.500z"/><path d="M16 9.500l5 5M21 9.500l-5 5"/>`,
  sound: svg`<path d="M4 9.500v5h3.500L12 18.500v-13L7.500 9.500z"/><path d="M15.500 9a4.200 4.200 0 0 1 0 6M18 6.500a8 8 0 0 1 0 11"/>`,
  captions: svg`<rect x="3" y="5" width="18" height="14" rx="3"/><path d="M10.500 10.300a2.300 2.300 0 1 0 0 3.400M17 10.300a2.300 2.300 0 1 0 0 3.400"/>`,
  quality: svg`<path d="M4 7.500h9M17.500 7.500H20M4 16.500h3M11.500 16.500H20"/><circle cx="15.200" cy="7.500" r="2.200"/><circle cx="9.200" cy="16.500" r="2.200"/>`,
  full: svg`<path d="M4.500 9V6A1.500 1.500 0 0 1 6 4.500h3M15 4.500h3A1.500 1.500 0 0 1 19.500 6v3M19.500 15v3a1.500 1.500 0 0 1-1.500 1.500h-3M9 19.500H6A1.500 1.500 0 0 1 4.500 18v-3"/>`,
  small: svg`<path d="M9 4.500V7a2 2 0 0 1-2 2H4.500M15 4.500V7a2 2 0 0 0 2 2h2.500M19.500 15H17a2 2 0 0 0-2 2v2.500M4.500 15H7a2 2 0 0 1 2 2v2.500"/>`,
  pip: svg`<rect x="3" y="5" width="18" height="14" rx="2.500"/><rect class="fill" x="11.500" y="11" width="7" height="5.500" rx="1.200"/>`,
  check: svg`<path d="M5 12.500l4.500 4.500L19 7.500"/>`,
  clock: svg`<circle cx="12" cy="12" r="8.500"/><path d="M12 7.500V12l3 2"/>`,
  done: svg`<circle cx="12" cy="12" r="8.500"/><path d="M8 12.500l2.800 2.800L16 9.500"/>`,
  lock: svg`<rect x="5" y="10.500" width="14" height="9.500" rx="2.500"/><path d="M8.500 10.500V8a3.500 3.500 0 0 1 7 0v2.500"/>`,
  warn: svg`<path d="M12 4.500L3.500 19h17zM12 10.500V14M12 16.600h.010"/>`,
};

/** @typedef {keyof typeof SHAPES} WatchIcon */

/** @param {WatchIcon} name */
export const icon = (name) =>
  html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">${SHAPES[name]}</svg>`;
