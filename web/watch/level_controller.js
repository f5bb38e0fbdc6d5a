/**
 * Throughput measurement of one player: times each part from its first to its last byte and selects the level of
 * hls.js.
 * @module
 */

import Hls from '../vendor/hls/hls.light.js';
import { Adaptation } from './adaptation.js';

/** @typedef {import('../vendor/hls/hls.light.js').AbrController} AbrController */

const clock = () => performance.now() / 1000;

export class LevelController {
  /** @type {AbrController | null} */
  #abr = null;
  #observer = new PerformanceObserver((list) => this.#timed(list.getEntries()));
  adaptation = new Adaptation();

  constructor() {
    this.#observer.observe({ type: 'resource' });
  }

  /** ABR controller class for hls.js. */
  get controller() {
    const owner = this;
    return class extends Hls.DefaultConfig.abrController {
      /** @param {Hls} hls */
      constructor(hls) {
        super(hls);
        owner.#abr = this;
        hls.on(Hls.Events.MANIFEST_PARSED, () => {
          owner.adaptation.begin(hls.levels.map(({ averageBitrate, bitrate }) => averageBitrate || bitrate), hls.maxAutoLevel, clock());
        });
      }

      get firstAutoLevel() {
        return this.nextAutoLevel;
      }

      get nextAutoLevel() {
        return this.hls ? Math.min(Math.max(owner.adaptation.level, this.hls.minAutoLevel), this.hls.maxAutoLevel) : -1;
      }

      set nextAutoLevel(level) {
        owner.adaptation.set(level);
      }

      /**
       * The original would treat a part that does not exist yet as too slow. `steer` decides this instead.
       * @param {string} name
       * @param {unknown} data
       */
      onFragLoading(name, data) {
        super.onFragLoading(name, data);
        this.clearTimer();
      }
    };
  }

  /**
   * Updates the level. Call several times a second.
   * @param {number} margin
   * @param {number} target both from the latency controller, seconds
   * @returns {number} extra buffer in seconds
   */
  steer(margin, target) {
    const hls = this.#abr?.hls;
    if (!hls?.autoLevelEnabled || hls.levels.length < 2) return 0;
    const { cushion, abandon } = this.adaptation.tick({ now: clock(), margin, target, ceiling: hls.maxAutoLevel, flying: this.#flying() });
    if (abandon) this.#abandon(hls);
    return cushion;
  }

  stalled() {
    this.adaptation.stalled(clock());
  }

  close() {
    this.#observer.disconnect();
    this.#abr = null;
  }

  #flying() {
    const abr = this.#abr;
    const stats = (abr?.partCurrent ?? abr?.fragCurrent)?.stats;
    if (!stats?.loading.first || stats.aborted || stats.loading.end) return null;
    return { bytes: stats.loaded, seconds: (performance.now() - stats.loading.first) / 1000, total: stats.total };
  }

  /** Aborts the part in flight: a part of another level arrives sooner. @param {Hls} hls */
  #abandon(hls) {
    const { fragCurrent: frag, partCurrent: part } = this.#abr ?? {};
    if (!frag) return;
    frag.abortRequests();
    hls.trigger(Hls.Events.FRAG_LOAD_EMERGENCY_ABORTED, { frag, part: part ?? null, stats: (part ?? frag).stats });
  }

  /** @param {PerformanceEntryList} entries */
  #timed(entries) {
    for (const entry of /** @type {PerformanceResourceTiming[]} */ (entries)) {
      // Cached responses, and origins without timing information, do not show the throughput.
      if (!entry.name.endsWith('.m4s') || !entry.responseStart || !entry.transferSize) continue;
      this.adaptation.heard(entry.transferSize, (entry.responseEnd - entry.responseStart) / 1000, clock());
    }
  }
}
