/**
 * Assembles the page. For tests and debugging, `window.sfu` provides `sfu.room` (the SDK's Room, or undefined),
 * `sfu.state` (the page state), `sfu.stats()` (a digest of getStats), `sfu.local` and `sfu.act`.
 * @module
 */

import { render } from '../vendor/lit-html/lit-html.js';
import { initial } from '../client/state.js';
import { page } from '../views/page.js';
import { Actions } from './actions.js';
import { at } from './base.js';
import { keepPicturesPlaying } from './interruptions.js';
import { listen } from './keyboard.js';
import { initialLocal, LocalMedia } from './local.js';
import { load } from './preferences.js';
import { Sound } from './sound.js';
import { Store } from './store.js';
import { obstacle } from './support.js';
import { stageOf } from './tiles.js';
import { Toasts } from './toasts.js';

/** @typedef {import('./types.js').PageState} PageState */

const LEVEL_MS = 80;
const preferences = load();

/** @type {PageState} */
const first = {
  view: 'landing',
  obstacle: obstacle(),
  watchable: '',
  brokenLink: false,
  roomName: '',
  name: preferences.name,
  dev: null,
  invited: false,
  recent: preferences.recent,
  joining: false,
  room: initial,
  media: new Map(),
  local: initialLocal(),
  layout: preferences.layout,
  pinned: '',
  pageIndex: 0,
  order: [],
  stage: { width: 0, height: 0 },
  panel: '',
  menu: '',
  dialog: null,
  showStats: false,
  stats: null,
  toasts: [],
  reactions: [],
  unread: 0,
  chatTo: '',
  openPerson: '',
  soundBlocked: false,
  theme: preferences.theme,
  announcement: '',
  talking: false,
};

const root = /** @type {HTMLElement} */ (document.getElementById('app'));
/** @type {Store<PageState>} */
const store = new Store(first, draw);
const local = new LocalMedia();
const toasts = new Toasts(store);
const sound = new Sound((soundBlocked) => store.update({ soundBlocked }));
const act = new Actions(store, local, toasts, sound);
let chatLines = 0;

/** @param {PageState} state */
function draw(state) {
  render(page(state, act, stageOf(state, act.meeting?.lastSpeaker ?? '')), root);
  if (state.unread) document.title = `(${state.unread}) ${state.roomName} · aiosfu`;
  else if (state.view === 'meeting') document.title = `${state.roomName} · aiosfu`;
  const lines = document.getElementById('chat-lines');
  // Scroll to the newest message, unless the user has scrolled up.
  if (lines && state.room.chat.length !== chatLines) {
    if (lines.scrollHeight - lines.scrollTop - lines.clientHeight < 240 || !chatLines) lines.scrollTop = lines.scrollHeight;
  }
  chatLines = lines ? state.room.chat.length : 0;
}

local.on('change', (state) => store.update({ local: state }));
local.on('problem', ({ title }) => store.state.view === 'meeting' && toasts.show(title, 'warn'));
sound.speaker(preferences.devices.speaker);
setInterval(() => {
  const level = store.state.local.microphone.track ? local.level : 0;
  act.meeting?.hear(level);
  // Twelve times a second: set the style directly, without a render of the page. Only where it is shown: on the root
  // element, each change recalculates the style of every element.
  for (const { style } of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.lively, .meter'))) {
    if (style.getPropertyValue('--my-level') !== level.toFixed(2)) style.setProperty('--my-level', level.toFixed(2));
  }
}, LEVEL_MS);

listen(act);
keepPicturesPlaying();
addEventListener('popstate', () => act.show());
addEventListener('pagehide', () => act.meeting?.leave());
addEventListener('online', () => act.room?.hurry());
document.addEventListener('visibilitychange', () => {
  act.room?.subscriptionSettings.hide(document.hidden);
  if (!document.hidden) act.room?.hurry();
});

Object.assign(window, {
  sfu: {
    act,
    local,
    get room() {
      return act.room;
    },
    get state() {
      return store.state;
    },
    stats: () => act.room?.stats(),
  },
});

// Page URLs are relative, and `pushState` would change the icon's URL.
for (const link of /** @type {NodeListOf<HTMLLinkElement>} */ (document.querySelectorAll('link[rel="icon"]'))) link.href = at('static/icon.svg');
act.show();
fetch(at('api/dev'))
  .then(async (response) => store.update({ dev: response.ok && Boolean((await response.json()).dev) }))
  .catch(() => store.update({ dev: false }));
