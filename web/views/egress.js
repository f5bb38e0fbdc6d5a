/**
 * Egress in the meeting: the live and recording indicators that everyone sees, and the menu items for participants with
 * permission.
 *
 * data-testid: `on-air`, `on-air-live`, `on-air-recording`, `on-air-problem`, `go-live`, `record`, `egress-layout`,
 * `copy-watch-link`.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { at } from '../page/base.js';
import { icon } from './icons.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */
/** @typedef {import('../client/types.js').EgressLayout} EgressLayout */

/** @type {Record<EgressLayout, string>} */
const LAYOUTS = {
  auto: 'Automatic',
  grid: 'Grid',
  speaker: 'Speaker with strip',
  presentation: 'Shared screen',
  pip: 'Picture in picture',
  single: 'One person',
};

/** @param {PageState} state */
export function onAir({ room: { room }, roomName }) {
  const { live, recording, problem } = room.egress;
  if (!live && !recording && !problem) return nothing;
  return html`
    <div class="on-air" role="status" data-testid="on-air">
      ${live
        ? html`<a class="on-air-word" data-testid="on-air-live" href=${new URL(at(`watch/${encodeURIComponent(roomName)}`)).pathname} target="_blank" rel="noopener" title="This meeting is being streamed live">Live</a>`
        : nothing}
      ${recording ? html`<span class="on-air-word" data-testid="on-air-recording" title="This meeting is being recorded">Recording</span>` : nothing}
      ${problem ? html`<span class="on-air-problem" data-testid="on-air-problem">${icon('warn')}${problem}</span>` : nothing}
    </div>
  `;
}

/**
 * @param {PageState} state
 * @param {Actions} act
 * @param {(name: import('./icons.js').IconName, text: string, testid: string, click: () => void, options?: {on?: boolean}) => unknown} item
 */
export function egressItems(state, act, item) {
  const { permissions, room } = state.room;
  const { live, recording, layout } = room.egress;
  if (!permissions.egress && !permissions.record) return nothing;
  return html`
    ${permissions.egress ? item('live', live ? 'Stop live stream' : 'Go live', 'go-live', act.toggleLive, { on: live }) : nothing}
    ${live ? item('link', 'Copy watch link', 'copy-watch-link', act.copyWatchLink) : nothing}
    ${permissions.record ? item('record', recording ? 'Stop recording' : 'Record', 'record', act.toggleRecording, { on: recording }) : nothing}
    ${live || recording
      ? html`<label class="menu-item">
          ${icon('grid')}<span>Layout</span>
          <select data-testid="egress-layout" @change=${(/** @type {Event & {target: HTMLSelectElement}} */ { target }) => act.updateEgress({ layout: /** @type {EgressLayout} */ (target.value) })}>
            ${Object.entries(LAYOUTS).map(([name, words]) => html`<option value=${name} ?selected=${name === layout}>${words}</option>`)}
          </select>
        </label>`
      : nothing}
  `;
}
