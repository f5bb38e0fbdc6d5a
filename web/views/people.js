/**
 * The people panel: participants, and controls for hosts.
 *
 * data-testid: `people-panel`, `person` (with data-participant, data-identity), `mute-person`, `stop-camera-person`,
 * `kick-person`, `message-person`, `lock-room`, `lobby-room`, `waiting-person` (with data-participant), `admit`,
 * `deny`.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { icon } from './icons.js';
import { avatar, bars, button } from './parts.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */
/** @typedef {import('../client/types.js').Participant} Participant */

/**
 * @param {PageState} state
 * @param {Actions} act
 */
export function people(state, act) {
  const { me, participants, permissions, waiting } = state.room;
  const hands = (/** @type {Participant} */ { attributes }) => Number(attributes['hand'] ?? 0) || Infinity;
  // Raised hands come first, in the order of raising.
  const others = [...participants.values()].sort((a, b) => hands(a) - hands(b) || 0);
  return html`
    <aside class="panel" aria-label="People" data-testid="people-panel">
      <header class="panel-head">
        <h2>People <span class="count">${participants.size + 1}</span></h2>
        ${button({ label: 'Close people', icon: 'close', look: 'plain tip-left', click: () => act.togglePanel('people') })}
      </header>
      <div class="panel-body">
        ${permissions.admin && waiting.length ? lobby(state, act) : nothing}
        <ul class="people">
          ${me ? person(state, act, me, true) : nothing}
          ${repeat(others, ({ id }) => id, (participant) => person(state, act, participant, false))}
        </ul>
      </div>
      ${permissions.admin ? switches(state, act) : nothing}
    </aside>
  `;
}

/**
 * @param {PageState} state
 * @param {Actions} act
 */
const lobby = ({ room }, act) => html`
  <section class="waiting-list" aria-label="Waiting to be let in">
    <h3>Waiting to be let in</h3>
    ${room.waiting.map(
      ({ participant, identity, name }) => html`
        <div class="person" data-testid="waiting-person" data-participant=${participant}>
          ${avatar(name, identity)}<span class="person-name">${name}</span>
          <button type="button" class="small secondary" data-testid="deny" @click=${() => act.deny(participant)}>Deny</button>
          <button type="button" class="small primary" data-testid="admit" @click=${() => act.admit(participant)}>Admit</button>
        </div>
      `,
    )}
  </section>
`;

/**
 * @param {PageState} state
 * @param {Actions} act
 * @param {Participant} participant
 * @param {boolean} me
 */
function person(state, act, participant, me) {
  const { id, identity, name, attributes, tracks, admin } = participant;
  const microphone = tracks.find(({ source }) => source === 'microphone');
  const camera = tracks.find(({ source }) => source === 'camera');
  const muted = me ? !state.local.microphone.wanted : !microphone || microphone.muted;
  const dark = me ? !state.local.camera.track : !camera || camera.muted;
  const moderate = state.room.permissions.admin && !me;
  const quality = state.room.quality.get(id);
  const speaking = (state.room.levels.get(id) ?? 0) > 0;
  const actions = [
    state.room.permissions.data
      ? button({ label: `Message ${name} privately`, icon: 'chat', look: 'plain tiny', word: 'Message', testid: 'message-person', click: () => act.whisper(id) })
      : null,
    moderate
      ? button({ label: `Remove ${name}`, icon: 'kick', look: 'plain tiny', word: 'Remove', testid: 'kick-person', click: () => act.openDialog({ kind: 'kick', participant: id, name }) })
      : null,
  ].filter((action) => action !== null);
  const open = state.openPerson === id;
  return html`
    <li class="person ${speaking ? 'speaking' : ''} ${open ? 'open' : ''}" data-testid="person" data-participant=${id} data-identity=${identity}>
      ${avatar(name, identity)}
      <span class="person-name">
        ${name}${me ? html` <span class="soft">(you)</span>` : nothing}
        ${admin ? html`<span class="soft person-role">Host</span>` : nothing}
      </span>
      ${attributes['hand'] ? html`<span class="person-hand" role="img" aria-label="Hand raised">${icon('hand')}</span>` : nothing}
      ${quality ? bars(quality) : nothing}
      ${me || !actions.length ? nothing : html`<span class="person-actions">${actions}</span>`}
      ${moderate && camera && !dark
        ? button({ label: `Turn off ${name}'s camera`, icon: 'camera', look: 'plain tiny tip-left', testid: 'stop-camera-person', click: () => act.silence(id, camera.id) })
        : html`<span class="person-state ${dark ? 'dim' : ''}" role="img" aria-label=${dark ? 'Camera off' : 'Camera on'}>${icon(dark ? 'cameraOff' : 'camera')}</span>`}
      ${moderate && microphone && !muted
        ? button({ label: `Mute ${name}`, icon: 'mic', look: 'plain tiny tip-left', testid: 'mute-person', click: () => act.silence(id, microphone.id) })
        : html`<span class="person-state ${muted ? 'dim' : ''}" role="img" aria-label=${muted ? 'Muted' : 'Not muted'}>${icon(muted ? 'micOff' : 'mic')}</span>`}
      ${me || !actions.length
        ? nothing
        : button({ label: `Actions for ${name}`, icon: 'more', look: 'plain tiny person-more tip-left', expanded: open, click: () => act.openPerson(open ? '' : id) })}
    </li>
  `;
}

/**
 * @param {PageState} state
 * @param {Actions} act
 */
function switches({ room: { room } }, act) {
  /**
   * @param {string} title
   * @param {string} text
   * @param {boolean} on
   * @param {string} testid
   * @param {() => void} click
   */
  const row = (title, text, on, testid, click) => html`
    <button type="button" class="switch" role="switch" aria-checked=${String(on)} data-testid=${testid} @click=${click}>
      <span><strong>${title}</strong><small>${text}</small></span><i aria-hidden="true"></i>
    </button>
  `;
  return html`
    <footer class="panel-foot" aria-label="Host controls">
      ${row('Lock the meeting', 'No one else can join', room.locked, 'lock-room', () => act.updateRoom({ locked: !room.locked }))}
      ${row('Waiting room', 'Hosts admit new participants', room.lobby, 'lobby-room', () => act.updateRoom({ lobby: !room.lobby }))}
    </footer>
  `;
}
