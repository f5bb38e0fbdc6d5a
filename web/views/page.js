/**
 * View of the page.
 *
 * data-testid: `landing`, `lobby`, `meeting`, `end` (with data-reason), `rejoin`, `end-home`; the rest is listed in the
 * module of each view: landing.js, lobby.js, meeting.js, controls.js, chat.js, people.js, settings.js, tile.js, stats.js,
 * unsupported.js.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { icon, mark } from './icons.js';
import { landing } from './landing.js';
import { lobby } from './lobby.js';
import { meeting } from './meeting.js';
import { themeButton } from './settings.js';
import { unsupported } from './unsupported.js';
import { ending } from './messages.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */

/**
 * @param {PageState} state
 * @param {Actions} act
 * @param {import('../page/tiles.js').Stage} stage
 */
export function page(state, act, stage) {
  switch (state.view) {
    case 'landing':
      return landing(state, act);
    case 'lobby':
      return lobby(state, act);
    case 'meeting':
      return meeting(state, act, stage);
    case 'end':
      return end(state, act);
    case 'unsupported':
      return unsupported(state, act);
  }
}

/**
 * @param {PageState} state
 * @param {Actions} act
 */
function end(state, act) {
  const { reason = 'left', message = '' } = state.room.leave ?? {};
  const { title, text, icon: name, again } = ending(reason, message);
  return html`
    <div class="entry" data-testid="end" data-reason=${reason}>
      <header class="entry-head"><span class="brand">${mark} aiosfu</span>${themeButton(state, act)}</header>
      <main class="end">
        <span class="end-icon">${icon(name)}</span>
        <div role="status"><h1>${title}</h1><p class="lead">${text}</p></div>
        <div class="end-actions">
          ${again ? html`<button type="button" class="primary" data-testid="rejoin" @click=${act.again}>${reason === 'left' ? 'Rejoin' : 'Try again'}</button>` : nothing}
          <button type="button" class="secondary" data-testid="end-home" @click=${act.home}>Home</button>
        </div>
      </main>
    </div>
  `;
}
