/**
 * Access to a room's live stream: exchanges a token for a playlist URL that is valid for some hours, and reads the
 * stream's state.
 * @module
 */

import { at, served } from '../page/base.js';

/** @typedef {{language: string, name: string, uri: string}} Captions */
/**
 * @typedef {object} LiveStreamState state from the server; times are seconds since 1970
 * @property {'waiting' | 'live' | 'ended'} state
 * @property {number} now
 * @property {string} stream_id
 * @property {number} started_at
 * @property {number} ended_at
 * @property {boolean} replay
 * @property {Captions[]} captions
 */

/** Watching is not allowed. `code` is the server's error code. */
export class Refused extends Error {
  /** @param {string} code */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

export class Access {
  /** Base URL of the playlists; empty: no access yet. */
  #base = '';
  /** Offset of the server's clock in milliseconds. */
  #clock = 0;
  #bestRoundTrip = Infinity;

  /**
   * @param {string} room
   * @param {string} token of an invitation; empty: none
   */
  constructor(room, token) {
    this.room = room;
    this.token = token;
  }

  /** URL of the multivariant playlist. */
  get url() {
    return `${this.#base}index.m3u8`;
  }

  get base() {
    return this.#base;
  }

  /** The server's clock, milliseconds since 1970. */
  now() {
    return Date.now() + this.#clock;
  }

  /** Requests access. Throws Refused, or TypeError if the server is unreachable. */
  async enter() {
    let response = await this.#requestToken(this.token);
    if (response.status === 401 && !this.token) {
      const made = await this.#developmentToken();
      if (made) response = await this.#requestToken(made);
    }
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw response.status < 500 ? new Refused(String(answer.code ?? 'not_authorized')) : new TypeError('server');
    this.#base = served(String(answer.url)).replace(/index\.m3u8$/, '');
  }

  /** @returns {Promise<LiveStreamState>} Throws Refused if the access has expired, TypeError if the server is unreachable. */
  async state() {
    if (!this.#base) await this.enter();
    const asked = performance.now();
    const response = await fetch(`${this.#base}state`, { cache: 'no-store' });
    const took = performance.now() - asked;
    if (response.status === 401 || response.status === 403) {
      this.#base = '';
      await this.enter();
      return this.state();
    }
    if (!response.ok) throw new TypeError('server');
    const state = /** @type {LiveStreamState} */ (await response.json());
    if (took <= this.#bestRoundTrip) {
      this.#bestRoundTrip = took;
      this.#clock = state.now * 1000 - (Date.now() - took / 2);
    }
    return state;
  }

  /** @param {string} token */
  #requestToken(token) {
    const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
    return fetch(at(`hls/${encodeURIComponent(this.room)}/token`), { method: 'POST', ...(headers ? { headers } : {}) });
  }

  /** Token from a development server on the same machine; empty elsewhere. */
  async #developmentToken() {
    const response = await fetch(at('api/dev/token'), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ room: this.room, admin: false }),
    });
    return response.ok ? String((await response.json()).token) : '';
  }
}
