/**
 * The signalling socket. Requests become promises, and the session outlives the socket.
 *
 * When the socket drops, a new one is opened with exponential back-off, and the session is resumed with its
 * `resume_key` and the number of the newest event. A server that is silent for two and a half heartbeats, or does not
 * answer a request, counts as lost. Timers, randomness and the WebSocket class are arguments for tests.
 * @module
 */

import { wait } from './backoff.js';
import { Emitter } from './emitter.js';
import { ConnectionLost, RequestError } from './errors.js';
import { BLOCKED, refusal } from './refusal.js';

/** @typedef {import('./types.js').Incoming} Incoming */
/** @typedef {import('./types.js').Outgoing} Outgoing */
/** @typedef {import('./types.js').Leave} Leave */

/**
 * @typedef {object} Timers
 * @property {(callback: () => void, ms: number) => any} setTimeout
 * @property {(handle: any) => void} clearTimeout
 */
/** @typedef {{resume?: string, last?: number}} Resume */
/**
 * @typedef {object} Pending
 * @property {Outgoing} message
 * @property {(value: Incoming) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {boolean} repeatable may be repeated on the next socket
 * @property {boolean} sent
 * @property {string} key a newer request replaces an older one with the same key; empty: none
 * @property {number} tries how often the server's rate limit rejected it
 * @property {any} timer
 */
/**
 * @typedef {object} SocketEvents
 * @property {Incoming} joined a snapshot; `resumed`: the old session continues
 * @property {Incoming} waiting in the lobby
 * @property {Incoming} message any other message that is not an answer
 * @property {{attempt: number, waitMs: number}} reconnecting
 * @property {Leave} closed the session has ended
 */

const REQUEST_TIMEOUT_MS = 10_000;
const OPEN_TIMEOUT_MS = 10_000;
/** Attempts after which a rate-limited request fails. */
const RATE_TRIES = 8;
const RATE_WAIT_MS = 500;
const FIRST_ATTEMPTS = 5;
/** Number of consecutive failures with working HTTP after which WebSockets count as blocked. */
const BLOCKED_ATTEMPTS = 2;
const OPEN = 1;
/** Temporary errors: a client that has joined before retries instead of giving up. */
const PASSING = new Set(['draining', 'internal', 'rate_limited', 'at_capacity', 'directory_unavailable', 'cut_off']);
/** Close code: another socket of the same session took over (a duplicated tab). */
const TAKEN_OVER = 4001;

/** @extends {Emitter<SocketEvents>} */
export class Socket extends Emitter {
  /** @type {WebSocket | null} */
  #socket = null;
  #ready = false;
  #finished = false;
  #everJoined = false;
  #nextId = 1;
  #attempt = 0;
  #joinId = -1;
  #resumeKey = '';
  #refusedToken = '';
  #last = 0;
  #heartbeatMs = 30_000;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** Newest request per key. @type {Map<string, number>} */
  #newest = new Map();
  /** The server's rate limit rejected a request: requests are sent one at a time. */
  #throttled = false;
  /** @type {any} */
  #release = null;
  /** @type {any} */
  #silence = null;
  /** @type {any} */
  #retry = null;
  /** @type {any} */
  #opening = null;

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {(refused: string) => Outgoing | Promise<Outgoing>} options.join creates the fields of a join message; id and
   *   resume are added. `refused`: code of the server's last token rejection, or empty
   * @param {typeof WebSocket} [options.WebSocket]
   * @param {Timers} [options.timers]
   * @param {() => number} [options.random]
   * @param {typeof refusal} [options.why] determines why a socket did not open
   */
  constructor({ url, join, WebSocket: Class = globalThis.WebSocket, timers = globalThis, random = Math.random, why = refusal }) {
    super();
    this.url = url;
    this.join = join;
    this.why = why;
    this.Class = Class;
    this.random = random;
    // Browsers reject timer calls with another `this` than the global object.
    this.timers = {
      /** @type {Timers['setTimeout']} */
      setTimeout: (callback, ms) => timers.setTimeout(callback, ms),
      /** @type {Timers['clearTimeout']} */
      clearTimeout: (handle) => timers.clearTimeout(handle),
    };
  }

  /** Highest event number received. */
  get last() {
    return this.#last;
  }

  /** Whether a session is established on an open socket. */
  get ready() {
    return this.#ready;
  }

  open() {
    if (!this.#socket && !this.#finished) this.#connect();
  }

  /** Reconnects at once, without waiting for the back-off. */
  hurry() {
    if (this.#retry === null || this.#finished) return;
    this.timers.clearTimeout(this.#retry);
    this.#retry = null;
    this.#connect();
  }

  /**
   * Sends a request. Resolves with the answer, rejects with RequestError or ConnectionLost. Without a socket, the
   * request waits for the next one; a request in flight is repeated if `repeatable`.
   * A request that the server's rate limit rejects was not executed; it is repeated when the limit allows.
   * @param {Outgoing} message without id
   * @param {{repeatable?: boolean, key?: string}} [options] `key`: replaces an older request with the same key
   * @returns {Promise<Incoming>}
   */
  request(message, { repeatable = false, key = '' } = {}) {
    if (this.#finished) return Promise.reject(new ConnectionLost('The session has ended.'));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      /** @type {Pending} */
      const pending = { message: { ...message, id }, resolve, reject, repeatable, sent: false, key, tries: 0, timer: null };
      if (key) {
        this.#newest.set(key, id);
        for (const [other, older] of [...this.#pending]) if (older.key === key && !older.sent) this.#supersede(other, older);
      }
      this.#pending.set(id, pending);
      if (this.#ready && !this.#throttled) this.#dispatch(id, pending);
    });
  }

  /**
   * Sends a message without an answer. It is dropped while there is no session.
   * @param {Outgoing} message
   */
  send(message) {
    if (this.#ready) this.#write(message);
  }

  /** Drops the socket and resumes the session on a new one, for network changes and tests. */
  renew() {
    if (this.#socket) this.#lost(this.#socket);
  }

  /**
   * Leaves the session.
   * @param {string} [reason] for the server
   * @param {{reason: string, message: string}} [end] for the `closed` event
   */
  leave(reason = '', end = { reason: 'left', message: 'You left the meeting.' }) {
    if (this.#finished) return;
    if (this.#socket?.readyState === OPEN) this.#write({ type: 'leave', reason });
    this.#finish({ ...end, action: 'disconnect', retryAfter: 0 });
  }

  async #connect() {
    const attempt = ++this.#attempt;
    /** @type {Outgoing} */
    let fields;
    try {
      fields = await this.join(this.#refusedToken);
    } catch (error) {
      if (this.#finished) return;
      if (error instanceof RequestError) this.#refuse(error.code, error.message);
      else this.#lost(null);
      return;
    }
    if (this.#finished || attempt !== this.#attempt) return;
    // A full server accepts clients whose key shows that they have already joined.
    const socket = new this.Class(this.url, this.#resumeKey ? ['sfu', `resume.${this.#resumeKey}`] : 'sfu');
    this.#socket = socket;
    this.#opening = this.timers.setTimeout(() => this.#unopened(socket), OPEN_TIMEOUT_MS);
    socket.onopen = () => {
      this.timers.clearTimeout(this.#opening);
      socket.onclose = ({ code }) => this.#closed(socket, code);
      this.#joinId = this.#nextId++;
      const resume = this.#resumeKey ? { resume: this.#resumeKey, last: this.#last } : {};
      this.#write({ ...fields, type: 'join', id: this.#joinId, ...resume });
      this.#listen();
    };
    socket.onmessage = (event) => this.#receive(socket, event.data);
    socket.onclose = () => this.#unopened(socket);
    socket.onerror = () => {};
  }

  /**
   * @param {WebSocket} socket
   * @param {unknown} data
   */
  #receive(socket, data) {
    if (socket !== this.#socket || typeof data !== 'string') return;
    this.#listen();
    /** @type {Incoming | Incoming[]} */
    const frame = JSON.parse(data);
    for (const message of Array.isArray(frame) ? frame : [frame]) {
      if (socket !== this.#socket) return;
      this.#take(message);
    }
  }

  /** @param {Incoming} message */
  #take(message) {
    if (message.n) {
      // After a resume, the server may repeat events that arrived just before the loss.
      if (message.type !== 'joined' && message.n <= this.#last) return;
      this.#last = message.n;
    }
    switch (message.type) {
      case 'ping':
        return this.#write({ type: 'pong', at: message.at });
      case 'joined':
        return this.#established(message);
      case 'waiting':
        return this.emit('waiting', message);
      case 'leave':
        return this.#leaveReceived(message);
      case 'error':
        if (message.id === this.#joinId && !this.#ready) return this.#joinRefused(message);
      // falls through
      case 'ok':
      case 'answer':
        return this.#answered(message);
      default:
        return this.emit('message', message);
    }
  }

  /** @param {Incoming} message */
  #established(message) {
    this.#ready = true;
    this.#everJoined = true;
    this.#refusedToken = '';
    this.#attempt = 0;
    this.#resumeKey = message.resume_key ?? this.#resumeKey;
    if (!message.resumed) this.#last = message.n ?? 0;
    this.#heartbeatMs = (message.heartbeat ?? 30) * 1000;
    if (!message.resumed) this.#rejectStale();
    this.emit('joined', message);
    for (const [id, pending] of [...this.#pending]) if (!pending.sent || pending.repeatable) this.#dispatch(id, pending);
  }

  /** Resolves a request that a newer one replaces. @param {number} id @param {Pending} pending */
  #supersede(id, pending) {
    this.#pending.delete(id);
    pending.resolve({ type: 'ok', id });
  }

  /**
   * Handles a request that the server's rate limit rejected.
   * @param {number} id
   * @param {Pending} pending
   * @param {RequestError} error
   */
  #slowDown(id, pending, error) {
    this.timers.clearTimeout(pending.timer);
    pending.sent = false;
    if (pending.key && this.#newest.get(pending.key) !== id) this.#supersede(id, pending);
    else if (++pending.tries >= RATE_TRIES) {
      this.#pending.delete(id);
      pending.reject(error);
    }
    this.#throttled = true;
    this.timers.clearTimeout(this.#release);
    this.#release = this.timers.setTimeout(() => this.#next(), error.retryAfter * 1000 || RATE_WAIT_MS);
  }

  /** After a rejection: sends one request at a time, oldest first, until all are answered. */
  #next() {
    this.#release = null;
    if (!this.#ready) return;
    for (const [id, pending] of this.#pending) {
      if (!pending.sent) this.#dispatch(id, pending);
      return;
    }
    this.#throttled = false;
  }

  /** @param {Incoming} message */
  #joinRefused(message) {
    if (this.#resumeKey) {
      // The old session is gone (server restart or timeout): join again.
      this.#resumeKey = '';
      this.#last = 0;
      const socket = this.#socket;
      this.#detach();
      socket?.close();
      this.#attempt = 0;
      this.#connect();
    } else if (this.#everJoined && PASSING.has(message.code)) {
      this.#lost(this.#socket);
    } else if (this.#everJoined && !this.#refusedToken && message.code?.startsWith('token_')) {
      // Request a new token once.
      this.#refusedToken = message.code;
      this.#lost(this.#socket);
    } else {
      this.#refuse(message.code ?? 'error', message.message ?? 'The server rejected the request to join.');
    }
  }

  /** @param {Incoming} message */
  #answered(message) {
    const pending = this.#pending.get(message.id ?? -1);
    if (!pending) {
      if (message.type === 'error') this.emit('message', message);
      return;
    }
    const error = message.type === 'error' ? new RequestError(message.code, message.message, message.retry_after) : null;
    if (error?.code === 'rate_limited') return this.#slowDown(message.id ?? -1, pending, error);
    this.timers.clearTimeout(pending.timer);
    this.#pending.delete(message.id ?? -1);
    if (error) pending.reject(error);
    else pending.resolve(message);
    if (this.#throttled && this.#release === null) this.#next();
  }

  /** @param {Incoming} message */
  #leaveReceived(message) {
    /** @type {Leave} */
    const leave = {
      reason: message.reason,
      message: message.message ?? '',
      action: message.action ?? 'disconnect',
      retryAfter: message.retry_after ?? 0,
    };
    if (leave.action === 'disconnect') return this.#finish(leave);
    if (leave.action === 'reconnect') {
      this.#resumeKey = '';
      this.#last = 0;
    }
    this.emit('message', message);
    this.#lost(this.#socket, leave.retryAfter * 1000);
  }

  /**
   * @param {string} code
   * @param {string} message
   */
  #refuse(code, message) {
    this.#finish({ reason: code, message, action: 'disconnect', retryAfter: 0 });
  }

  /**
   * @param {number} id
   * @param {Pending} pending
   */
  #dispatch(id, pending) {
    pending.sent = true;
    this.#write(pending.message);
    pending.timer = this.timers.setTimeout(() => {
      if (this.#pending.get(id) === pending) this.#lost(this.#socket);
    }, REQUEST_TIMEOUT_MS);
  }

  /** @param {Outgoing} message */
  #write(message) {
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Restarts the timeout for server messages. */
  #listen() {
    this.timers.clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#silence = this.timers.setTimeout(() => this.#lost(socket), 2.5 * this.#heartbeatMs);
  }

  /** Rejects the requests of the old session; the callers repeat them in the new one. */
  #rejectStale() {
    for (const [id, pending] of [...this.#pending]) {
      if (!pending.sent && !pending.repeatable) continue;
      this.#pending.delete(id);
      pending.reject(new ConnectionLost());
    }
  }

  #detach() {
    this.timers.clearTimeout(this.#silence);
    this.timers.clearTimeout(this.#opening);
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    this.#throttled = false;
    this.timers.clearTimeout(this.#release);
    this.#release = null;
    for (const pending of this.#pending.values()) this.timers.clearTimeout(pending.timer);
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    return socket;
  }

  /**
   * A client that has joined before retries until the server has capacity; a new client is rejected.
   * @param {WebSocket} socket
   */
  async #unopened(socket) {
    this.timers.clearTimeout(this.#opening);
    socket.onopen = socket.onclose = null;
    const refused = this.#everJoined ? null : await this.why(this.url);
    if (this.#finished || socket !== this.#socket) return;
    const passing = refused?.code === BLOCKED && this.#attempt < BLOCKED_ATTEMPTS;
    if (refused && !passing) this.#refuse(refused.code, refused.message);
    else this.#lost(socket);
  }

  /**
   * @param {WebSocket} socket
   * @param {number} code
   */
  #closed(socket, code) {
    if (code === TAKEN_OVER && socket === this.#socket) this.#refuse('taken_over', 'You joined this meeting in another tab.');
    else this.#lost(socket);
  }

  /**
   * @param {WebSocket | null} socket
   * @param {number} [atLeastMs]
   */
  #lost(socket, atLeastMs = 0) {
    if (this.#finished || socket !== this.#socket) return;
    this.#detach()?.close();
    for (const [id, pending] of [...this.#pending]) {
      if (pending.sent && !pending.repeatable) {
        this.#pending.delete(id);
        pending.reject(new ConnectionLost());
      }
    }
    if (!this.#everJoined && this.#attempt >= FIRST_ATTEMPTS) {
      return this.#refuse('unreachable', 'The server cannot be reached.');
    }
    const waitMs = Math.max(atLeastMs, wait(this.#attempt, this.random()));
    this.emit('reconnecting', { attempt: this.#attempt, waitMs });
    this.#retry = this.timers.setTimeout(() => {
      this.#retry = null;
      this.#connect();
    }, waitMs);
  }

  /** @param {Leave} leave */
  #finish(leave) {
    this.#finished = true;
    this.timers.clearTimeout(this.#retry);
    this.#detach()?.close();
    for (const pending of this.#pending.values()) pending.reject(new ConnectionLost('The session has ended.'));
    this.#pending.clear();
    this.emit('closed', leave);
  }
}
