/**
 * The statistics overlay: connection quality, the reason for each video's quality, and recent decisions.
 *
 * data-testid: `stats-overlay`; inside: `stats-row` (with data-name, and data-grade: good, warning, severe), `why`
 * (with data-track, data-grade and data-cause), `decision` (with data-kind). Each tile shows its own statistics.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { button } from './parts.js';
import { grade, GRADES, percent, rate, describe, why } from './explanations.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */
/** @typedef {import('../client/stats.js').TrackDigest} TrackDigest */
/** @typedef {import('./explanations.js').Grade} Grade */
/** @typedef {{name: string, value: string, grade?: Grade | undefined}} Row */

const DECISIONS_SHOWN = 12;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

const ms = (/** @type {number} */ seconds) => `${Math.round(seconds * 1000)} ms`;

/**
 * Statistics shown on a tile.
 * @param {TrackDigest | undefined} track
 * @param {string} layer
 * @returns {string[]}
 */
export function tileStats(track, layer) {
  if (!track) return ['no statistics yet'];
  const size = track.width ? `${track.width}×${track.height} @ ${Math.round(track.fps)}` : 'no video';
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
export function statsOverlay(state, act) {
  if (!state.showStats) return nothing;
  return html`
    <section class="numbers" tabindex="0" aria-label="Connection statistics" data-testid="stats-overlay">
      <header><h2>Connection</h2>${button({ label: 'Close statistics', icon: 'close', look: 'plain tiny tip-left', click: act.toggleStats })}</header>
      <dl>${goodness(state).map(row)}</dl>
      ${pictures(state)} ${decisions(state)}
      <h3>Details</h3>
      <dl>${details(state).map(row)}</dl>
    </section>
  `;
}

/** @param {PageState} state */
const received = ({ stats }) => Object.values(stats?.tracks ?? {}).filter(({ direction }) => direction === 'subscribe');

/**
 * Connection quality: the worst values over all received tracks.
 * @param {PageState} state
 * @returns {Row[]}
 */
function goodness(state) {
  const { stats, room } = state;
  const tracks = received(state);
  const latency = Math.max(stats?.publish.rtt ?? 0, stats?.subscribe.rtt ?? 0) || room.rtt;
  const worst = (/** @type {(track: TrackDigest) => number} */ value) => Math.max(0, ...tracks.map(value));
  const jitter = worst((track) => track.jitter);
  const loss = worst((track) => track.loss);
  const some = tracks.length > 0;
  return [
    { name: 'Latency', value: latency ? ms(latency) : '–', grade: latency ? grade('latency', latency) : undefined },
    { name: 'Jitter', value: some ? ms(jitter) : '–', grade: some ? grade('jitter', jitter) : undefined },
    { name: 'Loss', value: some ? percent(loss) : '–', grade: some ? grade('loss', loss) : undefined },
    { name: 'Download bandwidth', value: room.account.estimate ? `about ${rate(room.account.estimate)}` : '–' },
  ];
}

/**
 * @param {PageState} state
 * @returns {Row[]}
 */
function details(state) {
  const { publish, subscribe, tracks = {} } = state.stats ?? {};
  const sound = received(state).filter(({ kind }) => kind === 'audio');
  const mine = Object.values(tracks).find(({ kind, direction }) => kind === 'audio' && direction === 'publish');
  return [
    { name: 'Receiving', value: rate(subscribe?.incoming ?? 0) },
    { name: 'Upload bandwidth', value: publish?.available ? rate(publish.available) : '–' },
    { name: 'Sending', value: rate(publish?.outgoing ?? 0) },
    { name: 'Transport', value: `${publish?.protocol || '–'} / ${subscribe?.protocol || '–'}` },
    { name: 'Audio sent', value: mine ? `${mine.codec}  ${rate(mine.bitrate)}` : '–' },
    { name: 'Audio received', value: sound.length ? `${sound.length} ×  ${rate(sound.reduce((sum, { bitrate }) => sum + bitrate, 0))}` : '–' },
    { name: 'Concealed', value: sound.length ? percent(Math.max(...sound.map(({ concealed }) => concealed))) : '–' },
  ];
}

/** @param {Row} row */
const row = ({ name, value, grade: found }) => html`
  <div data-testid="stats-row" data-name=${name} data-grade=${found ?? nothing}>
    <dt>${name}</dt>
    <dd>${value}${found ? html` <span class="grade grade-${found}">${GRADES[found]}</span>` : nothing}</dd>
  </div>
`;

/**
 * Each video that is or could be received, and the reason for its quality.
 * @param {PageState} state
 */
function pictures({ room, stats }) {
  const list = [...room.account.pictures.values()];
  if (!list.length) return nothing;
  return html`
    <h3>Video quality</h3>
    <ul class="whys">
      ${repeat(
        list,
        ({ track }) => track,
        (picture) => {
          const { grade: found, text } = why(picture, room.account);
          const digest = stats?.tracks[picture.track];
          const size = !picture.paused && digest?.width ? `${digest.width}×${digest.height}` : '';
          return html`
            <li class="why-${found}" data-testid="why" data-track=${picture.track} data-grade=${found} data-cause=${picture.cause}>
              <b>${nameOf(room, picture.track)}</b> <small>${size}</small><span>${text}</span>
            </li>
          `;
        },
      )}
    </ul>
  `;
}

/**
 * Newest first. Consecutive identical entries are shown once.
 * @param {PageState} state
 */
function decisions({ room }) {
  const all = room.account.decisions.map((decision) => ({ ...decision, text: describe(decision, (track) => nameOf(room, track)) }));
  const list = all.reverse().filter(({ text }, index) => text && text !== all[index - 1]?.text).slice(0, DECISIONS_SHOWN);
  if (!list.length) return nothing;
  return html`
    <h3>Recent events</h3>
    <ol class="decisions">
      ${repeat(
        list,
        ({ number }) => number,
        ({ kind, at, text }) => html`
          <li data-testid="decision" data-kind=${kind}>
            <time>${clock.format(at * 1000)}</time><span>${text}</span>
          </li>
        `,
      )}
    </ol>
  `;
}

/**
 * Display name for a track's owner.
 * @param {import('../client/types.js').RoomState} room
 * @param {string} track
 */
function nameOf({ me, participants }, track) {
  if (me?.tracks.some(({ id }) => id === track)) return 'You';
  for (const { name, tracks } of participants.values()) {
    const found = tracks.find(({ id }) => id === track);
    if (found) return found.source === 'screen_share' ? `${name}'s screen` : name;
  }
  return 'Someone';
}
