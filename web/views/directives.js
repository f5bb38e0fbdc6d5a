/**
 * Directives for what HTML templates cannot express: CSS variables (the content security policy forbids `style`
 * attributes), the stream of a video, and a dialog that is modal from the start.
 * @module
 */

import { nothing } from '../vendor/lit-html/lit-html.js';
import { Directive, directive } from '../vendor/lit-html/directive.js';

/** @typedef {import('../vendor/lit-html/directive.js').ElementPart} ElementPart */

class Vars extends Directive {
  /** @param {Record<string, string>} _values */
  render(_values) {
    return nothing;
  }

  /**
   * @param {ElementPart} part
   * @param {[Record<string, string>]} values
   * @override
   */
  update(part, [values]) {
    const { style } = /** @type {HTMLElement} */ (part.element);
    for (const [name, value] of Object.entries(values)) {
      if (style.getPropertyValue(name) !== value) style.setProperty(name, value);
    }
    return nothing;
  }
}

class Video extends Directive {
  /** @param {MediaStreamTrack} _track */
  render(_track) {
    return nothing;
  }

  /**
   * @param {ElementPart} part
   * @param {[MediaStreamTrack]} values
   * @override
   */
  update(part, [track]) {
    const element = /** @type {HTMLVideoElement} */ (part.element);
    const stream = /** @type {MediaStream | null} */ (element.srcObject);
    // The `muted` attribute has no effect on videos created by a template; only the property has.
    element.muted = true;
    if (stream?.getVideoTracks()[0] !== track) element.srcObject = new MediaStream([track]);
    return nothing;
  }
}

class Modal extends Directive {
  render() {
    return nothing;
  }

  /**
   * @param {ElementPart} part
   * @override
   */
  update(part) {
    const dialog = /** @type {HTMLDialogElement} */ (part.element);
    queueMicrotask(() => dialog.isConnected && !dialog.open && dialog.showModal());
    return nothing;
  }
}

/** Reports the element's inner size, initially and on changes. */
class Measure extends Directive {
  /** @type {ResizeObserver | null} */
  observer = null;

  /** @param {(size: {width: number, height: number}) => void} _tell */
  render(_tell) {
    return nothing;
  }

  /**
   * @param {ElementPart} part
   * @param {[(size: {width: number, height: number}) => void]} values
   * @override
   */
  update(part, [tell]) {
    if (!this.observer) {
      this.observer = new ResizeObserver(([entry]) => {
        if (entry) tell({ width: Math.floor(entry.contentRect.width), height: Math.floor(entry.contentRect.height) });
      });
      this.observer.observe(part.element);
    }
    return nothing;
  }
}

export const vars = directive(Vars);
export const video = directive(Video);
export const modal = directive(Modal);
export const measure = directive(Measure);
