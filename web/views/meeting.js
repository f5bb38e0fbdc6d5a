/**
 * The meeting: stage, banners, panels and bar.
 *
 * data-testid: `meeting` (with data-phase), `stage` (with data-layout), `banner` (with data-kind: reconnecting, draining,
 * media, sound, sharing), `restart-notice`, `page-previous`, `page-next`, `alone`, `copy-link-alone`, `toast`, `announcer`.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { at } from '../page/base.js';
import { chat } from './chat.js';
import { controls } from './controls.js';
import { measure, vars } from './directives.js';
import { icon } from './icons.js';
import { statsOverlay, tileStats } from './stats.js';
import { button } from './parts.js';
import { people } from './people.js';
import { onAir } from './egress.js';
import { dialogs } from './settings.js';
import './tile.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */
/** @typedef {import('../page/tiles.js').Placed} Placed */
/** @typedef {import('../page/tiles.js').Stage} Stage */

/**
 * @param {PageState} state
 * @param {Actions} act
 * @param {Stage} stage
 */
export function meeting(state, act, stage) {
  const alone = !state.room.participants.size && state.room.phase === 'joined';
  return html`
    <div class="meeting ${state.panel ? 'with-panel' : ''}" data-testid="meeting" data-phase=${state.room.phase}>
      <main class="stage-area ${stage.pages > 1 ? 'paged' : ''}">
        <h1 class="sr">Meeting ${state.roomName}</h1>
        <div class="banners">${banner(state, act)} ${restartNotice(state)}</div>
        ${onAir(state)}
        <div class="stage" data-testid="stage" data-layout=${stage.speaker ? 'speaker' : 'grid'} ${measure(act.resized)}>
          ${repeat(stage.placed, ({ tile }) => tile.key, (placed) => html`<sfu-tile .view=${view(state, act, placed)}></sfu-tile>`)}
        </div>
        ${alone ? invitation(state, act) : nothing} ${stage.pages > 1 ? pager(stage, act) : nothing} ${floats(state)} ${statsOverlay(state, act)}
      </main>
      ${state.panel === 'chat' ? chat(state, act) : nothing} ${state.panel === 'people' ? people(state, act) : nothing}
      ${controls(state, act)} ${dialogs(state, act)} ${toasts(state, act)}
      <div class="sr" role="status" aria-live="polite" data-testid="announcer">${state.announcement}</div>
    </div>
  `;
}

/**
 * @param {PageState} state
 * @param {Actions} act
 * @param {Placed} placed
 * @returns {import('./tile.js').TileView}
 */
function view(state, act, { tile, rect, main, floating }) {
  const { room } = state;
  const id = tile.participant.id;
  const level = room.levels.get(id) ?? 0;
  const camera = tile.kind === 'camera';
  return {
    tile,
    rect,
    main,
    floating,
    level,
    speaking: camera && level > 0 && !tile.muted,
    dominant: camera && room.dominant === id && !tile.me,
    quality: room.phase === 'reconnecting' && tile.me ? 'lost' : room.quality.get(id),
    hand: Boolean(tile.participant.attributes['hand']),
    reaction: state.reactions.findLast(({ participant }) => participant === id)?.emoji ?? '',
    pinned: state.pinned === tile.key,
    talking: tile.me && state.talking,
    numbers: state.showStats ? tileStats(state.stats?.tracks[tile.trackId], room.subscriptions.get(tile.trackId)?.layer ?? '') : [],
    pin: () => act.pin(tile.key),
    demand: act.demand,
  };
}

/**
 * The most important current notice.
 * @param {PageState} state
 * @param {Actions} act
 */
function banner(state, act) {
  const { room, local } = state;
  if (room.phase !== 'joined') {
    const draining = room.leave?.reason === 'draining';
    return strip(draining ? 'draining' : 'reconnecting', 'warn', 'wifiOff', draining ? 'The server is restarting. Reconnecting …' : 'Connection lost. Reconnecting …', null, true);
  }
  if (room.mediaLost) return strip('media', 'warn', 'wifiOff', 'Audio and video interrupted. Reconnecting …', null, true);
  if (state.soundBlocked) {
    return strip('sound', 'info', 'sound', 'Your browser has blocked the audio.', { label: 'Turn on audio', run: act.resumeSound });
  }
  if (local.screen) {
    return strip('sharing', 'info', 'share', 'You are sharing your screen.', { label: 'Stop sharing', run: act.toggleShare });
  }
  return nothing;
}

/**
 * Notice of a server restart while meetings may still continue.
 * @param {PageState} state
 */
function restartNotice({ room }) {
  if (room.phase !== 'joined' || !room.drainedBy) return nothing;
  const latest = new Date(room.drainedBy * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  return html`
    <div class="banner info" role="status" data-testid="restart-notice">
      ${icon('info')}<span>The server will restart by ${latest}. You will be reconnected.</span>
    </div>
  `;
}

/**
 * @param {string} kind
 * @param {'warn' | 'info'} look
 * @param {import('./icons.js').IconName} name
 * @param {string} text
 * @param {{label: string, run: () => void} | null} action
 * @param {boolean} [busy]
 */
const strip = (kind, look, name, text, action, busy = false) => html`
  <div class="banner ${look}" role="status" data-testid="banner" data-kind=${kind}>
    ${busy ? html`<span class="spinner" aria-hidden="true"></span>` : icon(name)}<span>${text}</span>
    ${action ? html`<button type="button" class="small" @click=${action.run}>${action.label}</button>` : nothing}
  </div>
`;

/**
 * @param {PageState} state
 * @param {Actions} act
 */
const invitation = (state, act) => html`
  <div class="alone" data-testid="alone">
    <p><strong>You are the first one here.</strong></p>
    ${state.dev
      ? html`<p>Share this link to invite others:</p>
          <button type="button" class="copy" data-testid="copy-link-alone" @click=${act.copyLink}>
            <span>${at(`r/${encodeURIComponent(state.roomName)}`).replace(/^https?:\/\//, '')}</span>${icon('link')}
          </button>`
      : html`<p>Others will appear when they join.</p>`}
  </div>
`;

/**
 * @param {Stage} stage
 * @param {Actions} act
 */
const pager = ({ page, pages }, act) => html`
  <nav class="pager" aria-label="Pages of participants">
    ${button({ label: 'Previous page', icon: 'left', look: 'tiny', testid: 'page-previous', disabled: page === 0, click: () => act.turn(page - 1) })}
    <span aria-live="polite">${page + 1} / ${pages}</span>
    ${button({ label: 'Next page', icon: 'right', look: 'tiny', testid: 'page-next', disabled: page === pages - 1, click: () => act.turn(page + 1) })}
  </nav>
`;

/** @param {PageState} state */
const floats = ({ reactions }) => html`
  <div class="floats" aria-hidden="true">
    ${repeat(
      reactions,
      ({ id }) => id,
      ({ emoji, name, lane }) => html`<span class="float" ${vars({ '--lane': String(lane) })}><b>${emoji}</b><small>${name}</small></span>`,
    )}
  </div>
`;

/**
 * @param {PageState} state
 * @param {Actions} act
 */
const toasts = (state, act) => html`
  <section class="toasts" aria-label="Notifications">
    ${repeat(
      state.toasts,
      ({ id }) => id,
      (toast) => html`
        <div class="toast" data-testid="toast">
          ${icon(toast.icon)}<span>${toast.text}</span>
          ${toast.action ? html`<button type="button" class="small" @click=${() => act.runToast(toast)}>${toast.action.label}</button>` : nothing}
        </div>
      `,
    )}
  </section>
`;
