/**
 * The landing page: room and participant name.
 *
 * data-testid: `landing`, `room-input`, `name-input`, `enter-button` (goes to the lobby of the room), `recent-room`,
 * `broken-link`.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { icon, mark } from './icons.js';
import { themeButton } from './settings.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */

/**
 * @param {PageState} state
 * @param {Actions} act
 */
export function landing(state, act) {
  /** @param {SubmitEvent} event */
  const submit = (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    act.enter(String(form.get('room')), String(form.get('name')));
  };
  return html`
    <div class="entry" data-testid="landing">
      <header class="entry-head"><span class="brand">${mark} aiosfu</span>${themeButton(state, act)}</header>
      <main class="landing">
        <section class="landing-words">
          <h1>Meet, face to&nbsp;face.</h1>
          <p>Clear video and audio in the browser. No account, no installation: share a link and talk.</p>
          <ul class="promises">
            <li>${icon('camera')} Sharp video that adapts to every connection</li>
            <li>${icon('share')} Share your screen, with audio</li>
            <li>${icon('lock')} Your server, your data</li>
          </ul>
        </section>
        <form class="card" @submit=${submit}>
          <h2>Start or join a meeting</h2>
          ${state.brokenLink
            ? html`<div class="notice" role="alert" data-testid="broken-link">
                ${icon('warn')}
                <div>
                  <strong>This link is damaged.</strong>
                  <p>Its meeting name cannot be read. Ask for a new link, or enter the name.</p>
                </div>
              </div>`
            : nothing}
          <label class="field">
            <span>Meeting name</span>
            <input
              name="room"
              data-testid="room-input"
              required
              maxlength="64"
              pattern="[^\\/#?]+"
              autocomplete="off"
              autocapitalize="none"
              spellcheck="false"
              placeholder="e.g. team-breakfast"
              .value=${state.roomName}
            />
          </label>
          <label class="field">
            <span>Your name</span>
            <input name="name" data-testid="name-input" maxlength="64" autocomplete="name" placeholder="How others will see you" .value=${state.name} />
          </label>
          <button class="primary wide" data-testid="enter-button">Continue ${icon('right')}</button>
          ${state.recent.length
            ? html`<div class="recent">
                <h3>Recent</h3>
                ${state.recent.map(
                  (room) => html`<button type="button" class="chip" data-testid="recent-room" @click=${() => act.enter(room, state.name)}>${room}</button>`,
                )}
              </div>`
            : nothing}
        </form>
      </main>
    </div>
  `;
}
