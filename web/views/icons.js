/**
 * Icons of the page: a 24 × 24 grid, round line ends, current text colour.
 * @module
 */

import { html, svg } from '../vendor/lit-html/lit-html.js';

const SLASH = svg`<path class="slash" d="M4 4l16 16"/>`;
const MIC = svg`<rect x="9" y="3" width="6" height="11" rx="3"/><path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3"/>`;
const CAMERA = svg`<rect x="3" y="6.5" width="12" height="11" rx="3"/><path d="M15 11l4.4-2.9a1 1 0 0 1 1.6.8v6.2a1 1 0 0 1-1.6.8L15 13"/>`;
const SPEAKER = svg`<path d="M4 9.5v5h3.5L12 18.5V5.5L7.5 9.5z"/><path d="M15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11"/>`;
const SCREEN = svg`<rect x="3" y="4.5" width="18" height="12.5" rx="2.5"/><path d="M9 20.5h6"/>`;

const SHAPES = {
  mic: MIC,
  micOff: svg`<path d="M9 9.5V11a3 3 0 0 0 4.8 2.400M15 10V6a3 3 0 0 0-5.9-.8M5.5 11.5a6.5 6.5 0 0 0 10.7 5M18.3 13a6.5 6.5 0 0 0 .2-1.5M12 18v3"/>${SLASH}`,
  camera: CAMERA,
  cameraOff: svg`<path d="M10.5 6.5H12a3 3 0 0 1 3 3V11l4.4-2.900a1 1 0 0 1 1.6.8v6.200a1 1 0 0 1-1.2.97M15 15.5a3 3 0 0 1-2.6 2H6a3 3 0 0 1-3-3v-5A3 3 0 0 1 5.6 6.6"/>${SLASH}`,
  share: svg`${SCREEN}<path d="M12 13.5v-6M9.3 10L12 7.300l2.7 2.7"/>`,
  shareOff: svg`${SCREEN}<path d="M9.5 8.300l5 5M14.5 8.300l-5 5"/>`,
  screen: SCREEN,
  chat: svg`<path d="M20.5 12a7.5 7.5 0 0 1-7.5 7.5H5l1.3-3A7.5 7.5 0 1 1 20.5 12z"/><path d="M9.5 10.5h7M9.5 13.5h4.5"/>`,
  people: svg`<circle cx="9" cy="8.5" r="3.5"/><path d="M2.5 19.5a6.5 6.5 0 0 1 13 0M16 5.300a3.5 3.5 0 0 1 0 6.400M18 14.200a6.5 6.5 0 0 1 3.5 5.3"/>`,
  hand: svg`<path d="M8 12.5V6a1.5 1.5 0 0 1 3 0v5M11 10.5V4.5a1.5 1.5 0 0 1 3 0v6M14 11V6a1.5 1.5 0 0 1 3 0v8.5a6.5 6.5 0 0 1-6.5 6.5 6 6 0 0 1-5-2.700L3.3 14a1.5 1.5 0 0 1 2.4-1.800L8 14.5"/>`,
  smile: svg`<circle cx="12" cy="12" r="8.5"/><path d="M8.5 14a4.2 4.2 0 0 0 7 0M9 9.5v.5M15 9.5v.5"/>`,
  grid: svg`<rect x="3.5" y="4.5" width="7.5" height="6.5" rx="1.5"/><rect x="13" y="4.5" width="7.5" height="6.5" rx="1.5"/><rect x="3.5" y="13" width="7.5" height="6.5" rx="1.5"/><rect x="13" y="13" width="7.5" height="6.5" rx="1.5"/>`,
  speaker: svg`<rect x="3.5" y="4.5" width="11.5" height="15" rx="2"/><rect x="17" y="4.5" width="3.5" height="4" rx="1"/><rect x="17" y="10" width="3.5" height="4" rx="1"/><rect x="17" y="15.5" width="3.5" height="4" rx="1"/>`,
  more: svg`<circle class="dot" cx="5.5" cy="12" r="1.3"/><circle class="dot" cx="12" cy="12" r="1.3"/><circle class="dot" cx="18.5" cy="12" r="1.3"/>`,
  settings: svg`<path d="M4 7.5h9M17.5 7.5H20M4 16.5h3M11.5 16.5H20"/><circle cx="15.2" cy="7.5" r="2.2"/><circle cx="9.2" cy="16.5" r="2.2"/>`,
  leave: svg`<path d="M3.3 14.800c-.9-1-.8-2.4.2-3.300a12.6 12.6 0 0 1 17 0c1 .9 1.1 2.3.2 3.300l-.9 1a1.2 1.2 0 0 1-1.5.2l-2.6-1.5a1.2 1.2 0 0 1-.6-1v-1.700a10.5 10.5 0 0 0-6.2 0v1.700c0 .4-.2.8-.6 1L5.7 16a1.2 1.2 0 0 1-1.5-.2z"/>`,
  pin: svg`<path d="M9 3.5h6l-.8 6.5 3.3 3.5v1.5h-11v-1.5L9.8 10zM12 15v6"/>`,
  unpin: svg`<path d="M9 3.5h6l-.8 6.5 3.3 3.5v1.5h-11v-1.5L9.8 10zM12 15v6"/>${SLASH}`,
  stats: svg`<path d="M5 19.5v-6M10 19.5V8M15 19.5v-9M20 19.5v-15"/>`,
  close: svg`<path d="M6.5 6.5l11 11M17.5 6.5l-11 11"/>`,
  check: svg`<path d="M5 12.5l4.5 4.5L19 7.5"/>`,
  send: svg`<path d="M4.5 12L4 5.200a.8.8 0 0 1 1.2-.7l15 7a.6.6 0 0 1 0 1l-15 7a.8.8 0 0 1-1.2-.7zM4.5 12H12"/>`,
  lock: svg`<rect x="5" y="10.5" width="14" height="9.5" rx="2.5"/><path d="M8.5 10.5V8a3.5 3.5 0 0 1 7 0v2.5"/>`,
  door: svg`<path d="M6.5 20V5.5a1.5 1.5 0 0 1 1.5-1.5h8a1.5 1.5 0 0 1 1.5 1.5V20M4 20h16M14 12v.5"/>`,
  sun: svg`<circle cx="12" cy="12" r="4"/><path d="M12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.600l1.1 1.100M17.3 17.300l1.1 1.100M5.6 18.400l1.1-1.100M17.3 6.700l1.1-1.1"/>`,
  moon: svg`<path d="M19.5 14.200A8 8 0 0 1 9.8 4.5a8 8 0 1 0 9.7 9.700z"/>`,
  auto: svg`<circle cx="12" cy="12" r="8"/><path class="fill" d="M12 4a8 8 0 0 1 0 16z"/>`,
  keyboard: svg`<rect x="2.5" y="6" width="19" height="12" rx="2.5"/><path d="M6.5 10h.01M10 10h.01M14 10h.01M17.5 10h.01M6.5 14h.01M17.5 14h.01M10 14h4"/>`,
  sound: SPEAKER,
  link: svg`<path d="M10 13.5a4 4 0 0 0 5.7.3l3-3a4 4 0 0 0-5.7-5.700l-1 1M14 10.5a4 4 0 0 0-5.7-.3l-3 3a4 4 0 0 0 5.7 5.700l1-1"/>`,
  flip: svg`<path d="M4 9a8.5 8.5 0 0 1 15-2.5L20.5 8M20.5 4v4h-4M20 15a8.5 8.5 0 0 1-15 2.5L3.5 16M3.5 20v-4h4"/><circle cx="12" cy="12" r="2.5"/>`,
  left: svg`<path d="M14.5 6L8.5 12l6 6"/>`,
  right: svg`<path d="M9.5 6l6 6-6 6"/>`,
  down: svg`<path d="M6.5 9.5l5.5 5.5 5.5-5.5"/>`,
  full: svg`<path d="M4.5 9V6A1.5 1.5 0 0 1 6 4.5h3M15 4.5h3A1.5 1.5 0 0 1 19.5 6v3M19.5 15v3a1.5 1.5 0 0 1-1.5 1.5h-3M9 19.5H6A1.5 1.5 0 0 1 4.5 18v-3"/>`,
  pip: svg`<rect x="3" y="5" width="18" height="14" rx="2.5"/><rect class="fill" x="11.5" y="11" width="7" height="5.5" rx="1.2"/>`,
  wifi: svg`<path d="M2.5 9a14 14 0 0 1 19 0M5.8 12.5a9 9 0 0 1 12.4 0M9 16a4.3 4.3 0 0 1 6 0M12 19.300h.01"/>`,
  wifiOff: svg`<path d="M2.5 9a14 14 0 0 1 5.3-3.100M12 5.300A14 14 0 0 1 21.5 9M5.8 12.5A9 9 0 0 1 10 10.200M9 16a4.3 4.3 0 0 1 6 0M12 19.300h.01"/>${SLASH}`,
  warn: svg`<path d="M12 4.5L3.5 19h17zM12 10.5v3.5M12 16.600h.01"/>`,
  info: svg`<circle cx="12" cy="12" r="8.5"/><path d="M12 11v5M12 8h.01"/>`,
  kick: svg`<circle cx="9.5" cy="8.5" r="3.5"/><path d="M3 19.5a6.5 6.5 0 0 1 12.5-2.5M17 10.5l4 4M21 10.5l-4 4"/>`,
  live: svg`<circle class="fill" cx="12" cy="12" r="2.5"/><path d="M7.8 16.2a6 6 0 0 1 0-8.400M16.2 7.800a6 6 0 0 1 0 8.400M5 19a10 10 0 0 1 0-14M19 5a10 10 0 0 1 0 14"/>`,
  record: svg`<circle cx="12" cy="12" r="8.5"/><circle class="fill" cx="12" cy="12" r="4"/>`,
  edit: svg`<path d="M4.5 19.5l.8-4L15.5 5.300a2 2 0 0 1 2.8 0l.4.4a2 2 0 0 1 0 2.800L8.5 18.700z"/>`,
};

/** @typedef {keyof typeof SHAPES} IconName */

/** @param {IconName} name */
export const icon = (name) =>
  html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">${SHAPES[name]}</svg>`;

/** The product logo: two people facing each other through one point. */
export const mark = html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
  <rect class="mark-back" width="32" height="32" rx="9" />
  <circle cx="10" cy="11" r="3.2" /><circle cx="22" cy="11" r="3.2" /><circle cx="16" cy="22.5" r="3.2" />
  <path d="M12.4 13.800l2.2 5.400M19.6 13.800l-2.2 5.400M13.6 11h4.8" />
</svg>`;
