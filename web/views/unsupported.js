/**
 * Shown instead of the lobby if the browser does not support calls.
 *
 * data-testid: `unsupported` (with data-reason), `watch-instead` (with data-kind: live, replay), `unsupported-home`.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { at } from '../page/base.js';
import { BROWSERS } from '../page/support.js';
import { icon, mark } from './icons.js';
import { themeButton } from './settings.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */

/** @type {Record<Exclude<import('../page/support.js').Obstacle, ''>, string>} */
const REASONS = {
  no_webrtc: 'WebRTC is not available. A setting such as Lockdown Mode may disable it for this page.',
  webrtc_blocked: 'WebRTC is blocked by an extension, a setting or a policy of your organization. Allow it for this page, then reload.',
  no_websocket: 'WebSockets are not available. An extension may block them for this page.',
};

/**
 * @param {PageState} state
 * @param {Actions} act
 */
export function unsupported(state, act) {
  const { obstacle, watchable, roomName } = state;
  return html`
    <div class="entry" data-testid="unsupported" data-reason=${obstacle}>
      <header class="entry-head"><span class="brand">${mark} aiosfu</span>${themeButton(state, act)}</header>
      <main class="end">
        <span class="end-icon">${icon('warn')}</span>
        <div role="alert"><h1>This browser does not support calls</h1><p class="lead">${obstacle ? REASONS[obstacle] : ''}</p></div>
        <div class="browsers">
          <h2>Supported browsers</h2>
          <ul>
            ${BROWSERS.map(([name, versions]) => html`<li><strong>${name}</strong> ${versions}</li>`)}
          </ul>
        </div>
        <div class="end-actions">
          ${watchable
            ? html`<a class="primary" data-testid="watch-instead" data-kind=${watchable} href=${at(`watch/${encodeURIComponent(roomName)}`)}>
                ${icon('live')} ${watchable === 'live' ? 'Watch the live stream' : 'Watch the replay'}
              </a>`
            : nothing}
          <button type="button" class="secondary" data-testid="unsupported-home" @click=${act.home}>Home</button>
        </div>
      </main>
    </div>
  `;
}
