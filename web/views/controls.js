/**
 * The control bar of a meeting, and its menus.
 *
 * data-testid: `mic`, `camera`, `share`, `hand`, `reactions`, `reaction-👍` …, `chat-toggle`, `people-toggle`, `layout`,
 * `stats-toggle`, `more`, `settings`, `help`, `leave`. Egress controls: views/egress.js.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { canShare } from '../client/devices.js';
import { icon } from './icons.js';
import { button } from './parts.js';
import { egressItems } from './egress.js';
import { REACTIONS } from './messages.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */

/**
 * @param {PageState} state
 * @param {Actions} act
 */
export function controls(state, act) {
  const { local, panel, menu, room } = state;
  const { camera, microphone, screen } = local;
  const hand = Boolean(room.me?.attributes['hand']);
  const count = room.participants.size + 1;
  return html`
    <section class="bar" aria-label="Meeting controls">
      <div class="bar-group bar-start">
        <span class="bar-room" title=${state.roomName}>${room.room.locked ? icon('lock') : nothing}${state.roomName}</span>
      </div>
      <div class="bar-group bar-middle">
        ${button({
          label: microphone.wanted ? 'Mute microphone' : 'Unmute microphone',
          icon: microphone.wanted ? 'mic' : 'micOff',
          look: microphone.wanted ? 'lively' : 'off',
          pressed: microphone.wanted,
          key: 'M',
          testid: 'mic',
          click: act.toggleMicrophone,
          disabled: !act.may(state, 'microphone'),
        })}
        ${button({
          label: camera.wanted ? 'Turn camera off' : 'Turn camera on',
          icon: camera.wanted ? 'camera' : 'cameraOff',
          look: camera.wanted ? '' : 'off',
          pressed: camera.wanted,
          key: 'V',
          testid: 'camera',
          click: act.toggleCamera,
          disabled: !act.may(state, 'camera'),
        })}
        ${canShare()
          ? button({
              label: screen ? 'Stop sharing' : 'Share your screen',
              icon: screen ? 'shareOff' : 'share',
              look: screen ? 'on wide-only' : 'wide-only',
              pressed: Boolean(screen),
              key: 'S',
              testid: 'share',
              click: act.toggleShare,
              disabled: !act.may(state, 'screen_share'),
            })
          : nothing}
        ${button({
          label: hand ? 'Lower your hand' : 'Raise your hand',
          icon: 'hand',
          look: hand ? 'on wide-only' : 'wide-only',
          pressed: hand,
          key: 'H',
          testid: 'hand',
          click: act.toggleHand,
        })}
        <span class="menu-place wide-only">
          ${button({
            label: 'Send a reaction',
            icon: 'smile',
            expanded: menu === 'reactions',
            testid: 'reactions',
            click: () => act.openMenu('reactions'),
          })}
          ${menu === 'reactions' ? html`<div class="menu reactions-menu">${reactions(act)}</div>` : nothing}
        </span>
        <span class="menu-place">
          ${button({ label: 'More', icon: 'more', expanded: menu === 'more', testid: 'more', click: () => act.openMenu('more') })}
          ${menu === 'more' ? more(state, act) : nothing}
        </span>
        ${button({ label: 'Leave the meeting', icon: 'leave', look: 'leave', testid: 'leave', click: act.leave })}
      </div>
      <div class="bar-group bar-end">
        ${button({
          label: state.layout === 'grid' ? 'Speaker layout' : 'Grid layout',
          icon: state.layout === 'grid' ? 'speaker' : 'grid',
          look: 'plain wide-only',
          key: 'G',
          testid: 'layout',
          click: act.toggleLayout,
        })}
        ${button({
          label: 'People',
          icon: 'people',
          look: panel === 'people' ? 'plain on' : 'plain',
          expanded: panel === 'people',
          key: 'P',
          testid: 'people-toggle',
          click: () => act.togglePanel('people'),
          badge: room.waiting.length,
          word: String(count),
        })}
        ${button({
          label: 'Chat',
          icon: 'chat',
          look: panel === 'chat' ? 'plain on' : 'plain',
          expanded: panel === 'chat',
          key: 'C',
          testid: 'chat-toggle',
          click: () => act.togglePanel('chat'),
          badge: state.unread,
        })}
      </div>
    </section>
  `;
}

/** @param {Actions} act */
const reactions = (act) => html`
  <div class="reactions" role="group" aria-label="Reactions">
    ${Object.entries(REACTIONS).map(
      ([emoji, name]) => html`<button type="button" class="reaction" aria-label=${name} data-testid="reaction-${emoji}" @click=${() => act.react(emoji)}>
        <span aria-hidden="true">${emoji}</span>
      </button>`,
    )}
  </div>
`;

/**
 * @param {PageState} state
 * @param {Actions} act
 */
function more(state, act) {
  const hand = Boolean(state.room.me?.attributes['hand']);
  /**
   * @param {import('./icons.js').IconName} name
   * @param {string} text
   * @param {string} testid
   * @param {() => void} click
   * @param {{key?: string, narrow?: boolean, on?: boolean}} [options]
   */
  const item = (name, text, testid, click, { key = '', narrow = false, on = false } = {}) => html`
    <button type="button" class="menu-item ${narrow ? 'narrow-only' : ''} ${on ? 'on' : ''}" data-testid=${testid} @click=${() => act.fromMenu(click)}>
      ${icon(name)}<span>${text}</span>${key ? html`<kbd>${key}</kbd>` : nothing}
    </button>
  `;
  return html`
    <div class="menu more-menu" role="group" aria-label="More">
      <div class="narrow-only">${reactions(act)}</div>
      ${item('hand', hand ? 'Lower your hand' : 'Raise your hand', 'menu-hand', act.toggleHand, { narrow: true, on: hand })}
      ${canShare()
        ? item(state.local.screen ? 'shareOff' : 'share', state.local.screen ? 'Stop sharing' : 'Share your screen', 'menu-share', act.toggleShare, { narrow: true })
        : nothing}
      ${state.local.devices.cameras.length > 1 && state.local.camera.track
        ? item('flip', 'Switch camera', 'menu-flip', act.nextCamera, { narrow: true })
        : nothing}
      ${item(state.layout === 'grid' ? 'speaker' : 'grid', state.layout === 'grid' ? 'Speaker layout' : 'Grid layout', 'menu-layout', act.toggleLayout, { key: 'G' })}
      ${egressItems(state, act, item)}
      ${document.fullscreenEnabled ? item('full', 'Full screen', 'fullscreen', act.toggleFullscreen, { key: 'F' }) : nothing}
      ${item('stats', state.showStats ? 'Hide statistics' : 'Connection statistics', 'stats-toggle', act.toggleStats, { key: 'I' })}
      ${state.dev ? item('link', 'Copy link', 'copy-link', act.copyLink) : nothing}
      ${item('keyboard', 'Keyboard shortcuts', 'help', () => act.openDialog({ kind: 'help' }), { key: '?' })}
      ${item('settings', 'Settings', 'settings', () => act.openDialog({ kind: 'settings' }))}
    </div>
  `;
}
