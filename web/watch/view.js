/**
 * View of the watch page.
 *
 * data-testid: `watch` (with data-phase), `status`, `latency`, `go-live`, `play`, `mute`, `unmute`, `seek`, `quality`,
 * `quality-option`, `captions`, `caption-option`, `full`, `replay`, `retry`.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { live } from '../vendor/lit-html/directives/live.js';
import { mark } from '../views/icons.js';
import { icon } from './icons.js';

/** @typedef {import('./types.js').WatchState} WatchState */
/** @typedef {import('./types.js').WatchActions} WatchActions */

/**
 * @param {WatchState} state
 * @param {WatchActions} act
 * @param {HTMLVideoElement} video
 */
export const watch = (state, act, video) => html`
  <div class="watch ${state.phase} ${state.idle ? 'idle' : ''}" data-testid="watch" data-phase=${state.phase}>
    <header class="watch-head">
      <span class="brand">${mark}<span class="sr">aiosfu</span></span>
      <h1>${state.room}</h1>
      ${badge(state)}
    </header>
    <main class="stage" id="stage">
      <div class="screen" ?hidden=${!shown(state)}>${video}</div>
      ${shown(state) ? overlay(state, act) : say(state, act)}
    </main>
    <p class="sr" role="status" aria-live="polite">${state.announcement}</p>
  </div>
`;

/** @param {WatchState} state */
const shown = ({ phase }) => phase === 'playing' || phase === 'reconnecting';

/** Playback is paused, not stalled. @param {WatchState} state */
const halted = ({ paused, needsTap, stalled }) => needsTap || (paused && !stalled);

/** @param {WatchState} state */
function badge(state) {
  const { phase, replay, atEdge } = state;
  if (phase === 'playing' && halted(state)) return html`<span class="status" data-testid="status">Paused</span>`;
  if (phase === 'playing' && replay) return html`<span class="status" data-testid="status">Replay</span>`;
  if (phase === 'playing') return html`<span class="status on-air ${atEdge ? '' : 'behind'}" data-testid="status"><i></i>Live</span>`;
  if (phase === 'reconnecting') return html`<span class="status" data-testid="status">Reconnecting</span>`;
  return nothing;
}

/**
 * @param {WatchState} state
 * @param {WatchActions} act
 */
const overlay = (state, act) => html`
  ${state.phase === 'reconnecting' || (state.stalled && !state.paused)
    ? html`<div class="wait"><span class="spinner"></span>${state.phase === 'reconnecting' ? html`<p>Reconnecting …</p>` : nothing}</div>`
    : nothing}
  ${state.needsTap
    ? html`<button type="button" class="big" data-testid="unmute" @click=${act.tap}><span>${icon('play')}</span>Tap to play</button>`
    : state.silenced
      ? html`<button type="button" class="unmute" data-testid="unmute" @click=${act.tap}>${icon('mute')} Tap to unmute</button>`
      : nothing}
  <div class="controls" @pointerdown=${(/** @type {Event} */ event) => event.stopPropagation()}>
    ${bar(state, act)}
    <div class="buttons">
      ${control({ label: state.paused ? 'Play' : 'Pause', key: 'k', name: state.paused ? 'play' : 'pause', click: act.togglePlay, testid: 'play' })}
      <div class="volume">
        ${control({ label: state.muted ? 'Unmute' : 'Mute', key: 'm', name: state.muted ? 'mute' : 'sound', click: act.toggleMute, testid: 'mute', pressed: state.muted })}
        <input
          type="range" min="0" max="1" step="0.05" aria-label="Volume"
          .value=${live(String(state.muted ? 0 : state.volume))}
          @input=${(/** @type {{target: HTMLInputElement}} */ { target }) => act.setVolume(Number(target.value))}
        />
      </div>
      ${state.replay
        ? html`<span class="clock">${clock(state.position.at)} / ${clock(state.position.end)}</span>`
        : html`<button type="button" class="edge ${state.atEdge ? 'there' : ''}" data-testid="go-live" title=${state.atEdge ? 'Watching live' : 'Go to live'} @click=${act.goLive}>
            <i></i>Live <span data-testid="latency" class="latency">${behind(state)}</span>
          </button>`}
      <span class="room"></span>
      ${state.captions.length ? menu(state, act, 'captions', 'Captions', captionOptions(state, act)) : nothing}
      ${state.levels.length ? menu(state, act, 'quality', 'Quality', qualityOptions(state, act)) : nothing}
      ${document.pictureInPictureEnabled ? control({ label: 'Picture in picture', key: 'p', name: 'pip', click: act.togglePip, testid: 'pip', look: 'wide-only' }) : nothing}
      ${control({ label: state.full ? 'Leave full screen' : 'Full screen', key: 'f', name: state.full ? 'small' : 'full', click: act.toggleFull, testid: 'full' })}
    </div>
  </div>
`;

/**
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.key
 * @param {import('./icons.js').WatchIcon} options.name
 * @param {() => void} options.click
 * @param {string} options.testid
 * @param {string} [options.look]
 * @param {boolean} [options.pressed]
 */
const control = ({ label, key, name, click, testid, look = '', pressed }) => html`
  <button type="button" class="control ${look}" aria-label=${label} title=${`${label} (${key})`} aria-keyshortcuts=${key} aria-pressed=${pressed === undefined ? nothing : String(pressed)} data-testid=${testid} @click=${click}>${icon(name)}</button>
`;

/**
 * @param {WatchState} state
 * @param {WatchActions} act
 */
function bar({ position: { at, start, end }, replay }, act) {
  if (end - start < 8) return nothing;
  const words = replay ? `${clock(at)} of ${clock(end)}` : end - at < 3 ? 'live' : `${clock(end - at)} behind live`;
  return html`<input
    class="seek" type="range" data-testid="seek" aria-label="Position" aria-valuetext=${words}
    min=${start.toFixed(1)} max=${end.toFixed(1)} step="0.1" .value=${live(at.toFixed(1))}
    @change=${(/** @type {{target: HTMLInputElement}} */ { target }) => act.seek(Number(target.value))}
  />`;
}

/**
 * @param {WatchState} state
 * @param {WatchActions} act
 * @param {'quality' | 'captions'} name
 * @param {string} label
 * @param {unknown} options
 */
const menu = (state, act, name, label, options) => html`
  <div class="menu-place">
    <button type="button" class="control worded" aria-label=${name === 'quality' ? `Quality, ${qualityWord(state)}` : label} title=${label} aria-haspopup="menu" aria-expanded=${String(state.menu === name)} data-testid=${name} @click=${() => act.openMenu(name)}>
      ${icon(name)}${name === 'quality' ? html`<span class="wide-only" aria-hidden="true">${state.height ? `${state.height}p` : 'Auto'}</span>` : nothing}
    </button>
    ${state.menu === name ? html`<div class="options" role="menu" aria-label=${label}>${options}</div>` : nothing}
  </div>
`;

/** @param {WatchState} state */
const qualityWord = ({ level, height, levels }) =>
  level < 0 ? `automatic${height ? `, ${height}p` : ''}` : `${levels.find(({ index }) => index === level)?.height ?? height}p`;

/**
 * @param {string} testid
 * @param {string} label
 * @param {string} hint
 * @param {boolean} chosen
 * @param {() => void} click
 */
const option = (testid, label, hint, chosen, click) => html`
  <button type="button" role="menuitemradio" aria-checked=${String(chosen)} data-testid=${testid} @click=${click}>
    <span class="tick">${chosen ? icon('check') : nothing}</span>${label}<span class="soft">${hint}</span>
  </button>
`;

/**
 * @param {WatchState} state
 * @param {WatchActions} act
 */
const qualityOptions = ({ levels, level, height }, act) => [
  option('quality-option', 'Automatic', level < 0 && height ? `${height}p` : '', level < 0, () => act.choose(-1)),
  ...levels.map((one) => option('quality-option', `${one.height}p`, `${(one.rate / 1e6).toFixed(1)} Mbit/s`, one.index === level, () => act.choose(one.index))),
];

/**
 * @param {WatchState} state
 * @param {WatchActions} act
 */
const captionOptions = ({ captions, caption }, act) => [
  option('caption-option', 'Off', '', !caption, () => act.caption('')),
  ...captions.map(({ language, name }) => option('caption-option', name, language, language === caption, () => act.caption(language))),
];

/** Latency; while paused, the distance to the live edge. @param {WatchState} state */
function behind({ atEdge, latency, position }) {
  if (!atEdge) return `−${clock(position.end - position.at)}`;
  return latency === null ? '' : `${latency.toFixed(1)} s`;
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const words = (parts[0] ? parts : parts.slice(1)).map((part, place) => (place ? String(part).padStart(2, '0') : String(part)));
  return words.join(':');
}

const REFUSALS = /** @type {Record<string, [string, string]>} */ ({
  token_missing: ['You need an invitation', 'Ask the organizer for a link to this live stream.'],
  token_expired: ['This invitation has expired', 'Ask the organizer for a new link.'],
  token_revoked: ['This invitation was revoked', 'Ask the organizer for a new link.'],
});

/**
 * Message shown instead of the video.
 * @param {WatchState} state
 * @param {WatchActions} act
 */
function say(state, act) {
  switch (state.phase) {
    case 'denied': {
      const [title, text] = REFUSALS[state.reason] ?? ['This invitation does not work', 'It may belong to another room. Ask the organizer for a new link.'];
      return card('lock', title, text);
    }
    case 'waiting':
      return card('clock', 'The live stream starts soon', 'Keep this page open. Playback starts automatically.', html`<div class="waiting-dots" aria-hidden="true"><i></i><i></i><i></i></div>`);
    case 'ended':
      return card(
        'done',
        'The live stream has ended',
        state.replayable ? 'Thank you for watching. A replay is available.' : 'Thank you for watching.',
        state.replayable ? html`<button type="button" class="primary" data-testid="replay" @click=${act.replay}>${icon('play')} Watch the replay</button>` : nothing,
      );
    case 'unsupported':
      return card('warn', 'This browser cannot play the live stream', 'Use a current version of Chrome, Edge, Firefox or Safari.');
    default:
      return html`<div class="wait"><span class="spinner"></span></div>`;
  }
}

/**
 * @param {import('./icons.js').WatchIcon} name
 * @param {string} title
 * @param {string} text
 * @param {unknown} [more]
 */
const card = (name, title, text, more = nothing) => html`
  <div class="end">
    <span class="end-icon">${icon(name)}</span>
    <h2>${title}</h2>
    <p class="lead">${text}</p>
    <div class="end-actions">${more}</div>
  </div>
`;
