/**
 * Holds the page state and renders it at most once per animation frame.
 * @module
 */

/** Hidden pages get no animation frames, but tests and screen readers still read them. */
const HIDDEN_FRAME_MS = 200;

/** @template {object} State */
export class Store {
  #scheduled = false;

  /**
   * @param {State} state
   * @param {(state: State) => void} draw
   */
  constructor(state, draw) {
    this.state = state;
    this.draw = draw;
  }

  /** @param {Partial<State>} change */
  update(change) {
    this.state = { ...this.state, ...change };
    if (this.#scheduled) return;
    this.#scheduled = true;
    const frame = () => {
      this.#scheduled = false;
      this.draw(this.state);
    };
    if (document.hidden) setTimeout(frame, HIDDEN_FRAME_MS);
    else requestAnimationFrame(frame);
  }
}
