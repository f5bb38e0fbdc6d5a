/**
 * Keyboard shortcuts. They are inactive during text input and with modifier keys.
 * @module
 */

/** @typedef {import('./actions.js').Actions} Actions */

/** @type {Record<string, (act: Actions) => void>} */
const MEETING = {
  m: (act) => act.toggleMicrophone(),
  v: (act) => act.toggleCamera(),
  e: (act) => act.toggleCamera(),
  s: (act) => act.toggleShare(),
  h: (act) => act.toggleHand(),
  c: (act) => act.togglePanel('chat'),
  p: (act) => act.togglePanel('people'),
  g: (act) => act.toggleLayout(),
  i: (act) => act.toggleStats(),
  f: (act) => act.toggleFullscreen(),
  '?': (act) => act.openDialog({ kind: 'help' }),
};

/** @param {EventTarget | null} target */
const writes = (target) =>
  target instanceof HTMLElement && (target.isContentEditable || target.matches('input, textarea, select'));

/** Space activates a focused button. @param {EventTarget | null} target */
const presses = (target) => target instanceof HTMLElement && target.matches('button, a, summary, [role="button"]');

/** @param {Actions} act */
export function listen(act) {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { view, dialog } = act.state;
    if (event.key === 'Escape' && !dialog) {
      if (act.escape()) event.preventDefault();
      return;
    }
    if (writes(event.target) || dialog || (view !== 'meeting' && view !== 'lobby')) return;
    if (event.key === ' ' && view === 'meeting' && !presses(event.target)) {
      event.preventDefault();
      if (!event.repeat) act.talk(true);
      return;
    }
    const key = event.key.toLowerCase();
    const allowed = view === 'meeting' || ['m', 'v', 'e'].includes(key);
    const run = MEETING[key];
    if (!run || !allowed || event.repeat) return;
    event.preventDefault();
    run(act);
  });
  addEventListener('keyup', (event) => event.key === ' ' && act.talk(false));
  addEventListener('blur', () => act.talk(false));
  // A click outside closes the menu.
  addEventListener('pointerdown', (event) => {
    const { menu } = act.state;
    if (menu && event.target instanceof Element && !event.target.closest('.menu-place')) act.openMenu(menu);
  });
}
