/**
 * The lobby: preview, device selection and name. Also the wait for admission by a host.
 *
 * data-testid: `lobby`, `lobby-preview`, `name-input`, `join-button`, `mic`, `camera`, `level-meter`, `problem`,
 * `invitation-needed`, `waiting`, `cancel-waiting`.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { live } from '../vendor/lit-html/directives/live.js';
import { video } from './directives.js';
import { icon, mark } from './icons.js';
import { avatar, button } from './parts.js';
import { devicePicker, themeButton } from './settings.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */

/**
 * @param {PageState} state
 * @param {Actions} act
 */
export function lobby(state, act) {
  return html`
    <div class="entry" data-testid="lobby">
      <header class="entry-head">
        <button type="button" class="brand" aria-label="aiosfu home" @click=${act.home}>${mark} aiosfu</button>
        ${themeButton(state, act)}
      </header>
      <main class="lobby">
        <section class="lobby-see">${preview(state, act)} ${problems(state, act)}</section>
        <section class="lobby-say">${state.room.phase === 'waiting' ? waiting(state, act) : entrance(state, act)}</section>
      </main>
    </div>
  `;
}

/**
 * @param {PageState} state
 * @param {Actions} act
 */
function preview(state, act) {
  const { camera, microphone } = state.local;
  const asking = camera.wanted && !state.local.problems.camera;
  const caption = asking ? 'Allow access to your camera and microphone when your browser asks.' : 'Camera is off';
  return html`
    <div class="preview" data-testid="lobby-preview">
      ${camera.track
        ? html`<video autoplay playsinline muted aria-label="Your camera" ${video(camera.track)}></video>`
        : html`<div class="preview-off">${avatar(state.name || '?', state.name || '?')}<p>${caption}</p></div>`}
      <div class="preview-level" data-testid="level-meter" role="img" aria-label="Microphone level">
        ${icon(microphone.wanted ? 'mic' : 'micOff')}
        <span class="meter ${microphone.wanted ? '' : 'off'}"></span>
      </div>
      <div class="preview-bar">
        ${button({
          label: microphone.wanted ? 'Mute microphone' : 'Unmute microphone',
          icon: microphone.wanted ? 'mic' : 'micOff',
          look: microphone.wanted ? 'glass' : 'glass off',
          pressed: microphone.wanted,
          key: 'M',
          testid: 'mic',
          click: act.toggleMicrophone,
        })}
        ${button({
          label: camera.wanted ? 'Turn camera off' : 'Turn camera on',
          icon: camera.wanted ? 'camera' : 'cameraOff',
          look: camera.wanted ? 'glass' : 'glass off',
          pressed: camera.wanted,
          key: 'V',
          testid: 'camera',
          click: act.toggleCamera,
        })}
      </div>
    </div>
    <div class="pickers">
      ${devicePicker(state, act, 'microphone')} ${devicePicker(state, act, 'camera')} ${devicePicker(state, act, 'speaker')}
    </div>
  `;
}

/**
 * @param {PageState} state
 * @param {Actions} act
 */
function problems({ local }, act) {
  if (!isSecureContext) return insecure();
  const list = [local.problems.microphone, local.problems.camera].filter((problem) => problem !== null);
  return list.map(
    (problem) => html`
      <div class="notice" role="alert" data-testid="problem" data-code=${problem.code}>
        ${icon('warn')}
        <div><strong>${problem.title}</strong><p>${problem.text}</p></div>
        <button type="button" class="quiet" @click=${() => act.retry(/** @type {'camera' | 'microphone'} */ (problem.kind))}>Try again</button>
      </div>
    `,
  );
}

const insecure = () => html`
  <div class="notice" role="alert" data-testid="problem" data-code="insecure">
    ${icon('warn')}
    <div>
      <strong>This page is not secure</strong>
      <p>
        Browsers allow camera, microphone and screen sharing only on https pages. You can join, watch, listen and
        chat. To be seen and heard, open this page with an https:// address.
      </p>
    </div>
  </div>
`;

/**
 * @param {PageState} state
 * @param {Actions} act
 */
function entrance(state, act) {
  if (state.dev === false && !state.invited) {
    return html`
      <div data-testid="invitation-needed">
        <h1>You need an invitation</h1>
        <p class="lead">Open your invitation link to join “${state.roomName}”.</p>
        <button type="button" class="secondary" @click=${act.home}>Home</button>
      </div>
    `;
  }
  /** @param {SubmitEvent} event */
  const submit = (event) => {
    event.preventDefault();
    act.join();
  };
  return html`
    <form @submit=${submit}>
      <p class="eyebrow">Ready to join</p>
      <h1 class="room-name">${state.roomName}</h1>
      <label class="field">
        <span>Your name</span>
        <input
          name="name"
          data-testid="name-input"
          required
          maxlength="64"
          autocomplete="name"
          placeholder="How others will see you"
          .value=${live(state.name)}
          @input=${(/** @type {InputEvent} */ event) => act.rename(/** @type {HTMLInputElement} */ (event.target).value)}
        />
      </label>
      <button class="primary wide" data-testid="join-button" ?disabled=${state.joining || state.dev === null}>
        ${state.joining ? 'Joining …' : 'Join meeting'}
      </button>
      ${state.dev ? html`<p class="hint">${icon('info')} Development server: anyone with access to this page can join any room.</p>` : nothing}
    </form>
  `;
}

/**
 * @param {PageState} state
 * @param {Actions} act
 */
function waiting(state, act) {
  return html`
    <div class="waiting" role="status" data-testid="waiting">
      <span class="waiting-dots" aria-hidden="true"><i></i><i></i><i></i></span>
      <h1>Waiting to be let in</h1>
      <p class="lead">The host of “${state.roomName}” will let you in soon, ${state.name}.</p>
      <button type="button" class="secondary" data-testid="cancel-waiting" @click=${act.leave}>Cancel</button>
    </div>
  `;
}
