/**
 * Plays one stream in a video element: with hls.js where Media Source Extensions are available, with the browser's
 * native player elsewhere. Follows the live edge while the viewer wants to.
 * @module
 */

import Hls from '../vendor/hls/hls.light.js';
import { LatencyController, TICK_MS } from './latency.js';
import { LevelController } from './level_controller.js';
import { passOver } from './parts.js';

/** @typedef {'ready' | 'levels' | 'level' | 'progress' | 'lost' | 'over' | 'unsupported'} PlayerEvent */

const MIME = 'application/vnd.apple.mpegurl';
const RETRY_MS = 1000;
/** Consecutive errors after which the native player cannot play this live stream. */
const NATIVE_ERRORS = 3;
/** Seconds behind the live edge from which a viewer no longer follows it. */
const FOLLOWED = 4;

/** Milliseconds after which a seek counts as stuck. */
const SEEK_MS = 1500;
/** Milliseconds without a first frame after which the start counts as stuck. */
const START_MS = 3000;
/** Milliseconds between two attempts to return to the live edge. */
const AGAIN_MS = 2000;
/**
 * Seconds at the end of a live stream after which it counts as over. The last audio may be missing, and then browsers
 * do not fire `ended`.
 */
const OVER = 1;

/** Disables features of hls.js that this player replaces: latency control and level selection. */
const COMMON = { enableWorker: false, capLevelToPlayerSize: true, abrEwmaDefaultEstimate: 3_000_000, startFragPrefetch: true };
const LIVE = {
  lowLatencyMode: true,
  liveDurationInfinity: true,
  liveSyncOnStallIncrease: 0,
  maxLiveSyncPlaybackRate: 1,
  backBufferLength: 30,
  maxBufferLength: 15,
};

export class Player {
  /** @type {Hls | null} */
  #hls = null;
  /** @type {LevelController | null} */
  #levelController = null;
  /** Removes the listeners of the native player. @type {AbortController | null} */
  #native = null;
  #live = false;
  #retry = 0;
  #timer = 0;
  #mediaErrors = 0;
  #nativeErrors = 0;
  /** Time since which playback is stuck at the end of the buffer, in milliseconds of the page; 0: not stuck. */
  #standing = 0;
  /** Start of the current seek, and last return to the live edge, in milliseconds of the page. */
  #seeking = 0;
  #empty = 0;
  #rescued = 0;
  /** Whether to follow the live edge. */
  following = true;
  /** Plays at normal speed and follows the live edge by jumps only. */
  steady = false;
  /** Number of stalls. */
  stalls = 0;

  /**
   * @param {HTMLVideoElement} video
   * @param {(event: PlayerEvent) => void} report
   */
  constructor(video, report) {
    this.video = video;
    this.report = report;
    this.controller = new LatencyController();
    video.addEventListener('waiting', () => this.#waiting());
  }

  get native() {
    return !this.#hls;
  }

  /**
   * @param {string} url
   * @param {boolean} live
   */
  load(url, live) {
    this.close();
    this.#live = live;
    this.following = live;
    this.controller.reset();
    if (Hls.isSupported()) this.#load(url);
    else if (this.video.canPlayType(MIME)) {
      const { signal } = (this.#native = new AbortController());
      this.video.src = url;
      this.video.addEventListener('loadedmetadata', () => this.report('ready'), { signal });
      this.video.addEventListener('error', () => this.report(++this.#nativeErrors < NATIVE_ERRORS ? 'lost' : 'unsupported'), { signal });
      this.video.addEventListener('timeupdate', () => this.video.currentTime && this.#progressed(), { signal });
    } else this.report('unsupported');
    this.#timer = window.setInterval(() => this.#steer(), TICK_MS);
  }

  /** Stops loading; idempotent. */
  close() {
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
    this.#native?.abort();
    this.#native = null;
    this.#hls?.destroy();
    this.#hls = null;
    this.#levelController?.close();
    this.#levelController = null;
    this.video.removeAttribute('src');
    this.video.playbackRate = 1;
  }

  /** Levels, best first. @returns {{index: number, height: number, rate: number}[]} */
  get levels() {
    const found = (this.#hls?.levels ?? []).map(({ height, averageBitrate, bitrate }, index) => ({ index, height, rate: averageBitrate || bitrate }));
    return found.sort((one, other) => other.height - one.height);
  }

  /** Height of the displayed video. */
  get height() {
    return this.video.videoHeight;
  }

  /** @param {number} index −1: automatic */
  choose(index) {
    // loadLevel, because nextLevel flushes the buffer and stalls low-latency playback.
    if (this.#hls) this.#hls.loadLevel = index;
  }

  /** Seekable range. */
  get range() {
    const { seekable, duration } = this.video;
    const details = this.#hls?.latestLevelDetails;
    if (this.#live && details) return { start: Math.max(0, details.fragmentStart), end: Math.max(details.edge, this.#bufferedEnd()) };
    if (seekable.length) return { start: seekable.start(0), end: seekable.end(seekable.length - 1) };
    return { start: 0, end: Number.isFinite(duration) ? duration : 0 };
  }

  /** Capture time of the displayed frame, milliseconds since 1970. @returns {number | null} */
  get shownAt() {
    if (this.#hls) return this.#hls.playingDate?.getTime() ?? null;
    const start = /** @type {{getStartDate?: () => Date}} */ (/** @type {unknown} */ (this.video)).getStartDate?.().getTime();
    return start === undefined || Number.isNaN(start) ? null : start + this.video.currentTime * 1000;
  }

  /** Seeks to the live edge and follows it. */
  goLive() {
    if (!this.#live) return;
    this.following = true;
    this.toEdge();
  }

  /** Like `goLive`, for a viewer who already follows the live edge. */
  toEdge() {
    if (!this.#live) return;
    this.controller.reset();
    const { end } = this.range;
    const buffered = this.#bufferedEnd();
    this.video.currentTime = end - buffered < 1 ? Math.max(0, buffered - this.controller.target - 0.2) : (this.#hls?.liveSyncPosition ?? end);
  }

  /** @param {number} position */
  seek(position) {
    const { start, end } = this.range;
    if (this.#live && end - position < 1.5) return this.goLive();
    this.following = false;
    this.video.playbackRate = 1;
    this.video.currentTime = Math.min(Math.max(position, start), end);
  }

  /** @param {string} url */
  #load(url) {
    this.#levelController = this.#live ? new LevelController() : null;
    const hls = new Hls({ ...COMMON, ...(this.#levelController ? { ...LIVE, abrController: this.#levelController.controller } : { lowLatencyMode: false }) });
    this.#hls = hls;
    hls.on(Hls.Events.MANIFEST_PARSED, () => {
      this.report('levels');
    });
    this.video.addEventListener('loadeddata', () => hls === this.#hls && this.report('ready'), { once: true });
    // Before hls.js selects the next part.
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => passOver(details.partList ?? []));
    hls.on(Hls.Events.LEVEL_UPDATED, () => {
      // WebKitGTK may hang if it seeks before the first frame, so set the position before any data.
      const { readyState, currentTime } = this.video;
      if (this.#live && readyState === 0 && hls.startPosition > currentTime) this.video.currentTime = hls.startPosition;
    });
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.report('level'));
    hls.on(Hls.Events.FRAG_BUFFERED, () => {
      this.#mediaErrors = 0;
      this.report('progress');
    });
    hls.on(Hls.Events.ERROR, (_, data) => this.#failed(hls, data));
    hls.loadSource(url);
    hls.attachMedia(this.video);
  }

  /**
   * @param {Hls} hls
   * @param {import('../vendor/hls/hls.light.js').ErrorData} data
   */
  #failed(hls, data) {
    if (!data.fatal || hls !== this.#hls) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && this.#mediaErrors++ < 3) {
      hls.recoverMediaError();
      return;
    }
    this.report('lost');
    clearTimeout(this.#retry);
    this.#retry = window.setTimeout(() => hls === this.#hls && hls.startLoad(), RETRY_MS);
  }

  #progressed() {
    this.#nativeErrors = 0;
    this.report('progress');
  }

  /** @param {number} edge */
  #conclude(edge) {
    const { video } = this;
    const stands = video.readyState < 3 && !video.ended && edge - video.currentTime < 1;
    if (!stands) this.#standing = 0;
    else if (!this.#standing) this.#standing = performance.now();
    else if (performance.now() - this.#standing > OVER * 1000) this.report('over');
  }

  /** Skips a gap in the buffer: missing media at the live edge never arrives. @returns {boolean} whether there was a gap */
  #stepOver() {
    const { buffered, currentTime, readyState } = this.video;
    if (readyState > 2) return false;
    for (let range = 0; range < buffered.length; range++) {
      const start = buffered.start(range);
      if (start > currentTime + 0.01 && buffered.end(range) > start + 0.1) {
        this.video.currentTime = start + 0.001;
        this.#seeking = 0;
        return true;
      }
    }
    return false;
  }

  #waiting() {
    // Waiting during a seek is not a stall.
    if (this.video.seeking || this.video.paused || !this.video.currentTime) return;
    this.stalls++;
    if (!this.#live || !this.following) return;
    this.controller.stalled();
    this.#levelController?.stalled();
  }

  #bufferedEnd() {
    const { buffered } = this.video;
    return buffered.length ? buffered.end(buffered.length - 1) : 0;
  }

  #steer() {
    const { video } = this;
    if (!this.#live || !this.#hls || !video.buffered.length) return;
    const now = performance.now();
    this.#seeking = video.seeking ? this.#seeking || now : 0;
    if (this.#seeking && now - this.#seeking < SEEK_MS) return;
    if (video.paused) {
      // On a slow machine, hls.js may start before the loaded data, so that no frame appears. Wait before seeking,
      // because WebKitGTK often hangs on a seek during startup.
      const empty = this.following && video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA;
      this.#empty = empty ? this.#empty || now : 0;
      if (empty && now - this.#empty > START_MS) this.#stepOver();
      return;
    }
    this.#empty = 0;
    const edge = this.#hls.latestLevelDetails?.edge ?? 0;
    if (!this.#hls.latestLevelDetails?.live) {
      // The stream is ending: no live edge to follow.
      if (video.playbackRate !== 1) video.playbackRate = 1;
      this.#conclude(edge);
      return;
    }
    if (!this.following) return;
    if (this.#stepOver()) return;
    if (edge - video.currentTime > FOLLOWED && this.#bufferedEnd() - video.currentTime < 1) {
      // After sleep, buffered data is old: return to the live edge. Restart loading as well, which may be waiting at a
      // gap.
      if (now - this.#rescued < AGAIN_MS) return;
      this.#rescued = now;
      const position = this.#hls.liveSyncPosition;
      if (position !== null) {
        this.#hls.stopLoad();
        this.#hls.startLoad(position);
        video.currentTime = position;
      }
      this.#seeking = 0;
      this.controller.reset();
      return;
    }
    this.controller.cushion = this.#levelController?.steer(this.controller.margin, this.controller.target - this.controller.cushion) ?? 0;
    const { rate, jump } = this.controller.tick(video.currentTime, this.#bufferedEnd(), performance.now() / 1000);
    if (jump !== null) video.currentTime = jump;
    const wanted = this.steady ? 1 : rate;
    if (Math.abs(video.playbackRate - wanted) > 0.004) video.playbackRate = wanted;
  }
}
