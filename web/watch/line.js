/**
 * What one player's line carries: times each part from its first byte to its last, and chooses hls.js's level from that.
 * @module
 */

import Hls from '../vendor/hls/hls.light.js';
import { Adaptation } from './adaptation.js';

/** @typedef {import('../vendor/hls/hls.light.js').AbrController} AbrController */

const clock = () => performance.now() / 1000;

export class Line {
  /** @type {AbrController | null} */
  #abr = null;
  #observer = new PerformanceObserver((list) => this.#timed(list.getEntries()));
  adaptation = new Adaptation();

  constructor() {
    this.#observer.observe({ type: 'resource' });
  }

  /** The class that hls.js asks for levels, in place of its own. */
  get controller() {
    const line = this;
    return class extends Hls.DefaultConfig.abrController {
      /** @param {Hls} hls */
      constructor(hls) {
        super(hls);
        line.#abr = this;
        hls.on(Hls.Events.MANIFEST_PARSED, () => {
          line.adaptation.begin(hls.levels.map(({ averageBitrate, bitrate }) => averageBitrate || bitrate), hls.maxAutoLevel, clock());
        });
      }

      get firstAutoLevel() {
        return this.nextAutoLevel;
      }

      get nextAutoLevel() {
        return this.hls ? Math.min(Math.max(line.adaptation.level, this.hls.minAutoLevel), this.hls.maxAutoLevel) : -1;
      }

      set nextAutoLevel(level) {
        line.adaptation.set(level);
      }

      /**
       * It would see a part that is not made yet as one that loads too slowly: that is for `steer` to say.
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
   * Looks at the line, some times a second.
   * @param {number} margin
   * @param {number} target both as the latency controller has them, seconds
   * @returns {number} seconds that the buffer should hold in addition
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

  /** Another level's part is there sooner than the rest of this one. @param {Hls} hls */
  #abandon(hls) {
    const { fragCurrent: frag, partCurrent: part } = this.#abr ?? {};
    if (!frag) return;
    frag.abortRequests();
    hls.trigger(Hls.Events.FRAG_LOAD_EMERGENCY_ABORTED, { frag, part: part ?? null, stats: (part ?? frag).stats });
  }

  /** @param {PerformanceEntryList} entries */
  #timed(entries) {
    for (const entry of /** @type {PerformanceResourceTiming[]} */ (entries)) {
      // What came out of the cache, or from an origin that does not tell, says nothing of the line.
      if (!entry.name.endsWith('.m4s') || !entry.responseStart || !entry.transferSize) continue;
      this.adaptation.heard(entry.transferSize, (entry.responseEnd - entry.responseStart) / 1000, clock());
    }
  }
}
