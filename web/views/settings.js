/**
 * Device pickers, the theme button, and the dialogs: settings, keyboard shortcuts, removing a participant.
 *
 * data-testid: `settings-name`, `picker-camera`, `picker-microphone`, `picker-speaker`, `theme`, `settings-dialog`, `help-dialog`,
 * `kick-dialog`, `kick-confirm`, `dialog-close`.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { modal } from './directives.js';
import { icon } from './icons.js';
import { button } from './parts.js';
import { SHORTCUTS } from './messages.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */

const PICKERS = /** @type {const} */ ({
  camera: { list: 'cameras', label: 'Camera', icon: 'camera' },
  microphone: { list: 'microphones', label: 'Microphone', icon: 'mic' },
  speaker: { list: 'speakers', label: 'Speaker', icon: 'sound' },
});

/**
 * @param {PageState} state
 * @param {Actions} act
 * @param {keyof typeof PICKERS} kind
 */
export function devicePicker({ local }, act, kind) {
  const { list, label, icon: name } = PICKERS[kind];
  const devices = local.devices[list];
  if (kind === 'speaker' && !devices.length) return nothing;
  const inUse = kind === 'speaker' ? '' : (local[kind].track?.getSettings().deviceId ?? '');
  const chosen = inUse || local.chosen[kind];
  return html`
    <label class="picker">
      ${icon(name)}<span class="sr">${label}</span>
      <select
        data-testid="picker-${kind}"
        ?disabled=${!devices.length}
        @change=${(/** @type {Event} */ event) => act.choose(kind, /** @type {HTMLSelectElement} */ (event.target).value)}
      >
        ${devices.length
          ? devices.map(({ id, label: text }) => html`<option value=${id} ?selected=${id === chosen}>${text}</option>`)
          : html`<option>No ${label.toLowerCase()} found</option>`}
      </select>
      <span class="picker-arrow">${icon('down')}</span>
    </label>
  `;
}

const THEMES = /** @type {const} */ ({
  auto: { icon: 'auto', label: 'Colours: system' },
  light: { icon: 'sun', label: 'Colours: light' },
  dark: { icon: 'moon', label: 'Colours: dark' },
});

/**
 * @param {PageState} state
 * @param {Actions} act
 */
export const themeButton = ({ theme }, act) =>
  button({ label: THEMES[theme].label, icon: THEMES[theme].icon, look: 'plain tip-left', testid: 'theme', click: act.nextTheme });

/**
 * @param {PageState} state
 * @param {Actions} act
 */
export function dialogs(state, act) {
  switch (state.dialog?.kind) {
    case 'settings':
      return frame('Settings', 'settings-dialog', act, settings(state, act));
    case 'help':
      return frame('Keyboard shortcuts', 'help-dialog', act, help());
    case 'kick':
      return frame(`Remove ${state.dialog.name}?`, 'kick-dialog', act, kick(state.dialog, act));
    default:
      return nothing;
  }
}

/**
 * @param {string} title
 * @param {string} testid
 * @param {Actions} act
 * @param {unknown} content
 */
const frame = (title, testid, act, content) => html`
  <dialog class="dialog" aria-labelledby="dialog-title" data-testid=${testid} @close=${act.closeDialog} @click=${closeOutside} ${modal()}>
    <div class="dialog-inside">
      <header>
        <h2 id="dialog-title">${title}</h2>
        ${button({ label: 'Close', icon: 'close', look: 'plain tip-left', testid: 'dialog-close', click: act.closeDialog })}
      </header>
      ${content}
    </div>
  </dialog>
`;

/** @param {MouseEvent} event */
function closeOutside(event) {
  if (event.target === event.currentTarget) /** @type {HTMLDialogElement} */ (event.currentTarget).close();
}

/**
 * @param {PageState} state
 * @param {Actions} act
 */
function settings(state, act) {
  /** @param {Event} event */
  const rename = (event) => act.rename(/** @type {HTMLInputElement} */ (event.target).value.trim());
  return html`
    <label class="field">
      <span>Your name</span>
      <input data-testid="settings-name" maxlength="64" autocomplete="name" .value=${state.name} @change=${rename} />
    </label>
    <section>
      <h3>Devices</h3>
      ${devicePicker(state, act, 'microphone')}
      <span class="meter ${state.local.microphone.wanted ? '' : 'off'}" role="img" aria-label="Microphone level"></span>
      ${devicePicker(state, act, 'camera')} ${devicePicker(state, act, 'speaker')}
    </section>
    <section>
      <h3>Colours</h3>
      <div class="segments" role="group" aria-label="Colours">
        ${/** @type {Array<keyof typeof THEMES>} */ (['auto', 'light', 'dark']).map(
          (theme) => html`<button type="button" aria-pressed=${String(state.theme === theme)} @click=${() => act.setTheme(theme)}>
            ${icon(THEMES[theme].icon)} ${{ auto: 'System', light: 'Light', dark: 'Dark' }[theme]}
          </button>`,
        )}
      </div>
    </section>
  `;
}

const help = () => html`
  <dl class="shortcuts">
    ${SHORTCUTS.map(([key, text]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${text}</dd></div>`)}
  </dl>
`;

/**
 * @param {{participant: string, name: string}} dialog
 * @param {Actions} act
 */
const kick = ({ participant, name }, act) => html`
  <p>${name} will be removed at once and cannot rejoin with the same invitation.</p>
  <div class="dialog-actions">
    <button type="button" class="secondary" @click=${act.closeDialog}>Cancel</button>
    <button type="button" class="danger" data-testid="kick-confirm" @click=${() => act.kick(participant)}>Remove</button>
  </div>
`;
