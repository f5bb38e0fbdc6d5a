/**
 * The watch page: plays the live stream of a room, and its replay. `window.sfuWatch` is for tests and debugging: the
 * page state, its player and its video element.
 * @module
 */

import { render } from '../vendor/lit-html/lit-html.js';
import { at, roomIn } from '../page/base.js';
import { invitation } from '../page/preferences.js';
import { Store } from '../page/store.js';
import { Access, Refused } from './access.js';
import { CaptionLoader } from './captions.js';
import { listen } from './keyboard.js';
import { Playback } from './playback.js';
import { Player } from './player.js';
import { watch } from './view.js';

/** @typedef {import('./types.js').WatchState} WatchState */
/** @typedef {import('./types.js').WatchActions} WatchActions */

const POLL_MS = 2000;
/** During playback, the playlists provide most of the state. */
const PLAYING_POLL_MS = 10_000;
const CLOCK_MS = 250;
const IDLE_MS = 3000;
/** Playback within this many seconds of the live edge counts as live. */
const EDGE = 3;

const CAPTION_KEY = 'aiosfu-watch-captions';

const named = roomIn('watch');
// The landing page reports the damaged link.
if (named === null) location.replace(at('#broken-link='));
const room = named ?? '';
const options = new URLSearchParams(location.hash.slice(1));
const access = new Access(room, invitation(room, options.get('token') ?? ''));
// Remove the secret from the address, so that it is not copied.
if (options.has('token')) history.replaceState(null, '', location.pathname);

const video = document.createElement('video');
video.playsInline = true;
video.setAttribute('aria-label', `Live stream of ${room}`);
video.tabIndex = -1;

/** @type {WatchState} */
const first = {
  room,
  phase: 'connecting',
  reason: '',
  replay: false,
  replayable: false,
  paused: true,
  muted: false,
  silenced: false,
  needsTap: false,
  volume: 1,
  stalled: false,
  atEdge: true,
  latency: null,
  position: { at: 0, start: 0, end: 0 },
  levels: [],
  level: -1,
  height: 0,
  captions: [],
  caption: '',
  menu: '',
  full: false,
  idle: false,
  announcement: '',
};
/** @type {Store<WatchState>} */
const store = new Store(first, (state) => {
  render(watch(state, act, video), root);
  document.title = `${state.phase === 'playing' && !state.replay ? '● ' : ''}${room} · aiosfu`;
});
const root = /** @type {HTMLElement} */ (document.getElementById('app'));
const player = new Player(video, onPlayerEvent);
const playback = new Playback(video, {
  active: () => store.state.phase === 'playing' && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA,
  resume: () => player.following && player.toEdge(),
  unmuted: () => (player.steady = true),
  show: (change) => store.update(change),
});
const captions = new CaptionLoader(video, () => player.shownAt);
let streamId = '';
/** Preferred caption language; empty: none. */
let captionLanguage = '';
try {
  captionLanguage = localStorage.getItem(CAPTION_KEY) ?? '';
} catch {
  // Storage is blocked.
}
let polling = 0;
let idling = 0;

const stage = () => document.getElementById('stage');

/** @type {WatchActions} */
const act = {
  togglePlay() {
    if (video.paused) void playback.tap(store.state.muted && !store.state.silenced);
    else playback.pause();
  },
  toggleMute() {
    playback.mute(!video.muted);
    if (!video.muted && !video.volume) video.volume = 1;
  },
  setVolume(volume) {
    video.volume = volume;
    playback.mute(!volume);
  },
  tap() {
    void playback.tap();
    if (player.following) player.toEdge();
  },
  goLive() {
    player.goLive();
    void playback.play();
  },
  seek: (position) => player.seek(position),
  choose(level) {
    player.choose(level);
    store.update({ level, menu: '' });
  },
  caption(caption) {
    captionLanguage = caption;
    try {
      localStorage.setItem(CAPTION_KEY, caption);
    } catch {
      // Storage is blocked: the choice is not saved.
    }
    showCaptions(caption);
    store.update({ menu: '' });
  },
  openMenu: (menu) => store.update({ menu: store.state.menu === menu ? '' : menu }),
  async toggleFull() {
    const whole = /** @type {{webkitEnterFullscreen?: () => void}} */ (/** @type {unknown} */ (video));
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (document.fullscreenEnabled) await stage()?.requestFullscreen().catch(() => {});
    else whole.webkitEnterFullscreen?.();
  },
  async togglePip() {
    if (document.pictureInPictureElement) await document.exitPictureInPicture();
    else await video.requestPictureInPicture().catch(() => {});
  },
  replay() {
    start(false);
  },
  again() {
    store.update({ phase: 'connecting' });
    void poll();
  },
};

/** @param {string} caption language; empty: none */
function showCaptions(caption) {
  const track = store.state.captions.find(({ language }) => language === caption);
  captions.show(track && !player.native ? access.base + track.uri : '');
  if (player.native) for (const one of video.textTracks) one.mode = one.language === caption ? 'showing' : 'disabled';
  store.update({ caption });
}

/** Keeps the captions for the next live stream, for its replay and after a reload. */
function keepCaptions() {
  const { phase, caption, captions: tracks } = store.state;
  if (phase === 'playing' && captionLanguage && !caption && tracks.some(({ language }) => language === captionLanguage)) showCaptions(captionLanguage);
}

/** @param {boolean} live */
function start(live) {
  captions.show('');
  playback.reset();
  store.update({ phase: 'playing', replay: !live, stalled: true, caption: '', levels: [], level: -1, latency: null, announcement: live ? 'The live stream has started.' : 'The replay has started.' });
  player.load(access.url, live);
  if (!live) video.currentTime = 0;
  keepCaptions();
}

/** @param {import('./player.js').PlayerEvent} event */
function onPlayerEvent(event) {
  switch (event) {
    case 'ready':
      void playback.play();
      break;
    case 'levels':
      store.update({ levels: player.levels });
      break;
    case 'level':
      store.update({ height: player.height });
      break;
    case 'progress':
      if (store.state.phase === 'reconnecting') store.update({ phase: 'playing', announcement: 'Reconnected.' });
      break;
    case 'lost':
      store.update({ phase: 'reconnecting', announcement: 'Connection lost.' });
      void poll();
      break;
    case 'over':
      finish();
      break;
    case 'unsupported':
      clearTimeout(polling);
      player.close();
      store.update({ phase: 'unsupported', announcement: 'This browser cannot play the live stream.' });
      break;
  }
}

/** Polls the state of the live stream and acts on it. */
async function poll() {
  clearTimeout(polling);
  const before = access.base;
  try {
    const state = await access.state();
    const { phase, replay } = store.state;
    if (phase === 'unsupported') return;
    store.update({ captions: state.captions, replayable: state.replay });
    const changed = streamId !== state.stream_id || before !== access.base;
    if (state.state === 'waiting') store.update({ phase: 'waiting' });
    else if (state.state === 'live') {
      // hls.js has given up after a long interruption, or another live stream has started: reload.
      if (!(phase === 'playing' && !changed) && !(phase === 'reconnecting' && !changed && !video.error)) start(true);
    } else if (phase !== 'playing' || (!replay && changed)) {
      if (phase !== 'ended') finish();
    }
    streamId = state.stream_id;
    keepCaptions();
  } catch (error) {
    if (error instanceof Refused) {
      player.close();
      store.update({ phase: 'denied', reason: error.code });
      return;
    }
    if (store.state.phase === 'connecting' || store.state.phase === 'waiting') store.update({ announcement: 'Cannot reach the server. Trying again.' });
  }
  if (store.state.phase === 'unsupported') return;
  polling = window.setTimeout(() => void poll(), store.state.phase === 'playing' ? PLAYING_POLL_MS : POLL_MS);
}

function finish() {
  player.close();
  captions.show('');
  if (document.fullscreenElement) void document.exitFullscreen();
  store.update({ phase: 'ended', announcement: 'The live stream has ended.', menu: '' });
}

/** Shows the controls after user activity, and hides them after a while. */
function showControls() {
  clearTimeout(idling);
  if (store.state.idle) store.update({ idle: false });
  idling = window.setTimeout(() => {
    const busy = video.paused || store.state.menu || document.activeElement?.closest('.controls')?.matches(':focus-within:has(:focus-visible)');
    if (!busy) store.update({ idle: true });
  }, IDLE_MS);
}

for (const name of ['play', 'pause', 'volumechange']) {
  video.addEventListener(name, () => {
    playback.check();
    store.update({ paused: video.paused, muted: video.muted, volume: video.volume });
  });
}
document.addEventListener('visibilitychange', () => playback.check());
// Media keys of keyboards and headsets, and the browser's media controls: user actions.
for (const [action, run] of /** @type {const} */ ([['play', () => act.togglePlay()], ['pause', () => playback.pause()]])) {
  try {
    navigator.mediaSession?.setActionHandler(action, run);
  } catch {
    // The browser does not support this action.
  }
}
video.addEventListener('waiting', () => store.update({ stalled: true }));
for (const name of ['playing', 'timeupdate']) video.addEventListener(name, () => store.state.stalled && !video.seeking && store.update({ stalled: false }));
video.addEventListener('resize', () => store.update({ height: player.height }));
video.addEventListener('ended', async () => {
  await access.state().then((state) => store.update({ replayable: state.replay })).catch(() => {});
  finish();
});
video.addEventListener('click', () => {
  if (store.state.silenced) act.tap();
  else if (matchMedia('(hover: hover)').matches) act.togglePlay();
});
document.addEventListener('fullscreenchange', () => store.update({ full: Boolean(document.fullscreenElement) }));
for (const name of ['pointermove', 'pointerdown', 'keydown', 'focusin']) document.addEventListener(name, showControls);
document.addEventListener('pointerdown', (event) => {
  if (store.state.menu && event.target instanceof Element && !event.target.closest('.menu-place')) store.update({ menu: '' });
}, true);
window.setInterval(() => {
  if (store.state.phase !== 'playing') return;
  playback.check();
  const range = player.range;
  const at = video.currentTime;
  const shown = player.shownAt;
  const atEdge = !store.state.replay && range.end - at < EDGE;
  // The viewer paused long enough to fall behind, so stay there.
  if (player.following && video.paused && !playback.wanted && !atEdge && at) player.following = false;
  const latency = shown === null || store.state.replay || !at || video.paused ? null : Math.max(0, (access.now() - shown) / 1000);
  store.update({ position: { at, ...range }, atEdge, latency });
}, CLOCK_MS);

listen(store, act, video);
Object.assign(window, {
  sfuWatch: {
    access,
    act,
    player,
    video,
    get state() {
      return store.state;
    },
  },
});
showControls();
store.update({});
void poll();
