/**
 * Subscription settings: for each video track, the size of its tiles in device pixels and its priority; invisible
 * tracks are paused.
 *
 * `desired` and `changes` are pure. `SubscriptionSettings` collects the demands of the tiles and sends only changes, at a
 * limited rate.
 * @module
 */

/** @typedef {import('./types.js').TrackSettings} TrackSettings */
/** @typedef {{width: number, height: number, visible: boolean, main?: boolean}} Demand in device pixels */
/** @typedef {Required<Omit<TrackSettings, 'fps'>>} Full */

const STEP = 16;
const RETRY_MS = 2000;
const DEBOUNCE_MS = 150;
const PRIORITY = { least: 32, most: 200, main: 255 };
/** Area from which a camera gets the highest regular priority. */
const LARGE = 1280 * 720;

/**
 * @param {Iterable<string>} tracks all video tracks of the others
 * @param {ReadonlyMap<string, ReadonlyMap<unknown, Demand>>} demands by track, by tile
 * @param {boolean} hidden the page is not visible
 * @returns {Map<string, Full>}
 */
export function desired(tracks, demands, hidden) {
  return new Map([...tracks].map((track) => [track, settingsFor(track, [...(demands.get(track)?.values() ?? [])], hidden)]));
}

/**
 * @param {string} track
 * @param {Demand[]} demands
 * @param {boolean} hidden
 * @returns {Full}
 */
function settingsFor(track, demands, hidden) {
  const seen = demands.filter(({ visible, width, height }) => visible && width > 0 && height > 0);
  if (hidden || !seen.length) return { track, width: 0, height: 0, priority: 0, paused: true };
  const width = Math.max(...seen.map((demand) => demand.width));
  const height = Math.max(...seen.map((demand) => demand.height));
  const main = seen.some((demand) => demand.main);
  const share = Math.min(1, Math.sqrt((width * height) / LARGE));
  return {
    track,
    width: Math.ceil(width / STEP) * STEP,
    height: Math.ceil(height / STEP) * STEP,
    priority: main ? PRIORITY.main : Math.round(PRIORITY.least + share * (PRIORITY.most - PRIORITY.least)),
    paused: false,
  };
}

/**
 * The settings that changed: partial, because the server keeps omitted fields.
 * @param {ReadonlyMap<string, Full>} wanted
 * @param {ReadonlyMap<string, Full>} sent
 * @returns {TrackSettings[]}
 */
export function changes(wanted, sent) {
  /** @type {TrackSettings[]} */
  const list = [];
  for (const [track, settings] of wanted) {
    const before = sent.get(track);
    if (settings.paused) {
      if (!before?.paused) list.push({ track, paused: true });
    } else if (!before || before.paused || before.width !== settings.width || before.height !== settings.height) {
      list.push(settings);
    } else if (before.priority !== settings.priority) {
      list.push({ track, priority: settings.priority });
    }
  }
  return list;
}

export class SubscriptionSettings {
  /** @type {Map<string, Map<unknown, Demand>>} */
  #demands = new Map();
  /** @type {Map<string, Full>} */
  #sent = new Map();
  /** @type {ReadonlySet<string>} */
  #tracks = new Set();
  #hidden = false;
  /** @type {any} */
  #timer = null;

  /**
   * @param {(settings: TrackSettings[]) => Promise<unknown>} send
   * @param {import('./socket.js').Timers} [timers]
   */
  constructor(send, timers = globalThis) {
    this.send = send;
    /** @type {import('./socket.js').Timers['setTimeout']} */
    this.later = (callback, ms) => timers.setTimeout(callback, ms);
  }

  /** Settings last sent to the server, by track. */
  get current() {
    return this.#sent;
  }

  /**
   * Sets the demand of a tile for a track; null removes it.
   * @param {string} track
   * @param {unknown} tile
   * @param {Demand | null} demand
   */
  demand(track, tile, demand) {
    const tiles = this.#demands.get(track) ?? new Map();
    if (demand) tiles.set(tile, demand);
    else tiles.delete(tile);
    if (tiles.size) this.#demands.set(track, tiles);
    else this.#demands.delete(track);
    this.#schedule();
  }

  /** @param {ReadonlySet<string>} tracks the current video tracks */
  tracks(tracks) {
    if (tracks.size === this.#tracks.size && [...tracks].every((track) => this.#tracks.has(track))) return;
    this.#tracks = tracks;
    for (const track of [...this.#sent.keys()]) if (!tracks.has(track)) this.#sent.delete(track);
    this.#schedule();
  }

  /** @param {boolean} hidden */
  hide(hidden) {
    this.#hidden = hidden;
    this.#schedule();
  }

  /** A new session needs all settings again. */
  forget() {
    this.#sent = new Map();
    this.#schedule();
  }

  #schedule() {
    this.#timer ??= this.later(() => {
      this.#timer = null;
      this.#flush();
    }, DEBOUNCE_MS);
  }

  #flush() {
    const wanted = desired(this.#tracks, this.#demands, this.#hidden);
    const list = changes(wanted, this.#sent);
    this.#sent = wanted;
    if (list.length) this.send(list).catch((error) => this.#refused(list, error));
  }

  /**
   * The server keeps its previous settings, which are unknown here: the current settings of these tracks are sent
   * again.
   * @param {TrackSettings[]} list
   * @param {{code?: string}} error `not_found`: the tracks are gone; a lost connection: the next session sends
   *   everything
   */
  #refused(list, { code }) {
    if (code === 'not_found' || code === 'connection_lost') return;
    for (const { track } of list) this.#sent.delete(track);
    this.later(() => this.#schedule(), RETRY_MS);
  }
}
