/**
 * Toast notifications. Each is also announced to screen readers.
 * @module
 */

/** @typedef {import('./types.js').Toast} Toast */
/** @typedef {import('./types.js').PageState} PageState */

const SHOWN_MS = 4500;
const SHOWN_WITH_ACTION_MS = 9000;
const MOST = 3;

export class Toasts {
  #next = 1;

  /** @param {import('./store.js').Store<PageState>} store */
  constructor(store) {
    this.store = store;
  }

  /**
   * @param {string} text
   * @param {Toast['icon']} icon
   * @param {Toast['action']} [action]
   */
  show(text, icon, action) {
    const id = this.#next++;
    const others = this.store.state.toasts.filter((toast) => toast.text !== text);
    this.store.update({ toasts: [...others, { id, text, icon, ...(action ? { action } : {}) }].slice(-MOST), announcement: text });
    setTimeout(() => this.dismiss(id), action ? SHOWN_WITH_ACTION_MS : SHOWN_MS);
  }

  /** @param {number} id */
  dismiss(id) {
    this.store.update({ toasts: this.store.state.toasts.filter((toast) => toast.id !== id) });
  }
}
