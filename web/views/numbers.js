/**
 * The statistics overlay: numbers for the curious and for bug reports.
 *
 * data-testid: `stats-overlay`; the numbers of a tile are drawn by the tile.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { button } from './parts.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */
/** @typedef {import('../client/stats.js').TrackDigest} TrackDigest */

/** @param {number} bits a second */
export const rate = (bits) => (bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bits / 1000)} kbit/s`);
const percent = (/** @type {number} */ share) => `${(share * 100).toFixed(share && share < 0.1 ? 1 : 0)} %`;
const ms = (/** @type {number} */ seconds) => `${Math.round(seconds * 1000)} ms`;

/**
 * The lines shown on a tile.
 * @param {TrackDigest | undefined} track
 * @param {string} layer
 * @returns {string[]}
 */
export function tileNumbers(track, layer) {
  if (!track) return ['no statistics yet'];
  const size = track.width ? `${track.width}×${track.height} @ ${Math.round(track.fps)}` : 'no picture';
  const head = [`${size}  ${track.codec}`, `${rate(track.bitrate)}${layer ? `  layer ${layer}` : ''}`];
  if (track.direction === 'publish') {
    const layers = track.layers.map(({ rid, width, height, fps, bitrate }) =>
      width ? `${rid || '–'}: ${width}×${height} @ ${Math.round(fps)}  ${rate(bitrate)}` : `${rid || '–'}: not sent`,
    );
    return [...head, ...layers, ...(track.limitation ? [`limited by ${track.limitation}`] : [])];
  }
  return [...head, `loss ${percent(track.loss)}  jitter ${ms(track.jitter)}`, `delay ${ms(track.delay)}  freezes ${track.freezes}`];
}

/**
 * @param {PageState} state
 * @param {Actions} act
 */
export function numbers({ stats, room, showStats }, act) {
  if (!showStats) return nothing;
  const { publish, subscribe, tracks = {} } = stats ?? {};
  const sound = Object.values(tracks).filter(({ kind, direction }) => kind === 'audio' && direction === 'subscribe');
  const mine = Object.values(tracks).find(({ kind, direction }) => kind === 'audio' && direction === 'publish');
  /** @type {Array<[string, string]>} */
  const rows = [
    ['Round trip', ms(publish?.rtt || subscribe?.rtt || room.rtt)],
    ['Loss', percent(room.loss)],
    ['Sending', rate(publish?.outgoing ?? 0)],
    ['Could send', publish?.available ? rate(publish.available) : '–'],
    ['Receiving', rate(subscribe?.incoming ?? 0)],
    ['Transport', `${publish?.protocol || '–'} / ${subscribe?.protocol || '–'}`],
    ['My sound', mine ? `${mine.codec}  ${rate(mine.bitrate)}` : '–'],
    ['Their sound', sound.length ? `${sound.length} ×  ${rate(sound.reduce((sum, { bitrate }) => sum + bitrate, 0))}` : '–'],
    ['Concealed', sound.length ? percent(Math.max(...sound.map(({ concealed }) => concealed))) : '–'],
  ];
  return html`
    <section class="numbers" aria-label="Connection statistics" data-testid="stats-overlay">
      <header><h2>Connection</h2>${button({ label: 'Close statistics', icon: 'close', look: 'plain tiny tip-left', click: act.toggleStats })}</header>
      <dl>${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    </section>
  `;
}
