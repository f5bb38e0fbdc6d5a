/**
 * Keyboard shortcuts of the player, as in common video players.
 * @module
 */

/** @typedef {import('./types.js').WatchState} WatchState */
/** @typedef {import('./types.js').WatchActions} WatchActions */

const STEP = 5;

/**
 * @param {import('../page/store.js').Store<WatchState>} store
 * @param {WatchActions} act
 * @param {HTMLVideoElement} video
 */
export function listen(store, act, video) {
  /** @type {Record<string, () => void>} */
  const keys = {
    k: act.togglePlay,
    m: act.toggleMute,
    f: act.toggleFull,
    p: act.togglePip,
    l: act.goLive,
    c: () => act.caption(store.state.caption ? '' : (store.state.captions[0]?.language ?? '')),
    arrowleft: () => act.seek(video.currentTime - STEP),
    arrowright: () => act.seek(video.currentTime + STEP),
    arrowup: () => act.setVolume(Math.min(1, video.volume + 0.1)),
    arrowdown: () => act.setVolume(Math.max(0, video.volume - 0.1)),
  };
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === 'Escape') {
      if (store.state.menu) act.openMenu(store.state.menu);
      return;
    }
    if (store.state.phase !== 'playing') return;
    const on = event.target;
    const slides = on instanceof HTMLInputElement;
    const key = event.key.toLowerCase();
    if (key === ' ' && !(on instanceof HTMLButtonElement)) {
      event.preventDefault();
      act.togglePlay();
      return;
    }
    // Arrow keys move a focused slider, and select in an open menu.
    if (key.startsWith('arrow') && store.state.menu) {
      event.preventDefault();
      move(key === 'arrowdown' || key === 'arrowright' ? 1 : -1);
      return;
    }
    const run = keys[key];
    if (!run || (slides && key.startsWith('arrow'))) return;
    event.preventDefault();
    run();
  });
}

/** @param {number} by */
function move(by) {
  const items = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('[role=menuitemradio]')]);
  const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  items[(at + by + items.length) % items.length]?.focus();
}
