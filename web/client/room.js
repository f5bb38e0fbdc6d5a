/**
 * JavaScript SDK: a room from the point of view of one participant. `join` and `publish` are requests, subscriptions
 * follow the subscription settings, and one immutable `state` is replaced on every change, with a `change` event. The
 * page is one user of this SDK.
 *
 *     const room = new Room({ url: 'wss://example.org/ws' });
 *     room.on('change', (state) => render(state));
 *     await room.join({ token });
 *     await room.publish(track, { source: 'camera' });
 * @module
 */

import { Emitter } from './emitter.js';
import { RequestError } from './errors.js';
import { MediaConnections } from './media_connections.js';
import { ownTrack } from './publisher.js';
import { Reporter } from './reporter.js';
import { Socket } from './socket.js';
import { initial, participantOf, reduce, videoTracks } from './state.js';
import { SubscriptionSettings } from './subscription_settings.js';

/** @typedef {import('./types.js').RoomState} RoomState */
/** @typedef {import('./types.js').Participant} Participant */
/** @typedef {import('./types.js').Incoming} Incoming */
/** @typedef {import('./types.js').ChatEntry} ChatEntry */
/** @typedef {import('./types.js').DataEntry} DataEntry */
/** @typedef {import('./types.js').Source} Source */
/** @typedef {import('./types.js').Leave} Leave */
/** @typedef {import('./publisher.js').Publication} Publication */
/** @typedef {import('./publisher.js').Preferences} Preferences */

/**
 * @typedef {object} RoomEvents
 * @property {RoomState} change
 * @property {ReadonlyMap<string, MediaStreamTrack>} media received tracks by track id
 * @property {Participant} came
 * @property {{participant: Participant, reason: string}} went
 * @property {ChatEntry} chat a new message
 * @property {DataEntry} data application data over the signalling socket
 * @property {{from: string, topic: string, payload: unknown, reliable: boolean}} packet application data over a data channel
 * @property {{publication: Publication, by: string}} muted an admin muted one of this participant's tracks
 * @property {{publication: Publication, error: RequestError}} refused the server did not accept one of the tracks
 * @property {{resumed: boolean, rebuilt: boolean}} joined on the first join and after every reconnect; `rebuilt`: another
 *   server continues the meeting
 * @property {{attempt: number, waitMs: number}} reconnecting
 * @property {Error} error
 */

const CLIENT = 'aiosfu-web 0.1';
const SETTLE_MS = 50;

/** @extends {Emitter<RoomEvents>} */
export class Room extends Emitter {
  /** @type {RoomState} */
  state = initial;
  /** @type {Socket | null} */
  #socket = null;
  /** @type {import('./stats.js').Memory} */
  #memory = new Map();

  /**
   * @param {object} options
   * @param {string} options.url of the WebSocket
   * @param {Partial<Preferences>} [options.preferences] codec and other media preferences
   * @param {typeof globalThis.WebSocket} [options.WebSocket]
   */
  constructor({ url, preferences = {}, WebSocket = globalThis.WebSocket }) {
    super();
    this.url = url;
    this.WebSocket = WebSocket;
    this.connections = new MediaConnections({
      preferences,
      permissions: () => this.state.permissions,
      request: (message, repeatable) => this.#request(message, repeatable),
      answer: ({ id, sdp }) => this.#socket?.send({ type: 'answer', id, sdp }),
    });
    this.connections.on('negotiated', () => this.#own());
    this.connections.on('lost', (mediaLost) => mediaLost !== this.state.mediaLost && this.#set({ ...this.state, mediaLost }));
    this.connections.on('media', (media) => this.emit('media', media));
    this.connections.on('packet', (packet) => this.emit('packet', packet));
    this.connections.on('refused', (refused) => this.emit('refused', refused));
    this.connections.on('error', (error) => this.emit('error', error));
    this.subscriptionSettings = new SubscriptionSettings((tracks) => this.#request({ type: 'subscribe', tracks }, true));
    /** @type {import('./stats.js').Memory} */
    const memory = new Map();
    this.reporter = new Reporter(
      () => this.connections.stats(memory),
      (report) => this.state.phase === 'joined' && this.#socket?.send({ type: 'report', ...report }),
    );
  }

  /** The publishing connection; null before the join. */
  get publisher() {
    return this.connections.publisher;
  }

  /** The subscribing connection; null before the join. */
  get subscriber() {
    return this.connections.subscriber;
  }

  /** Received tracks by track id. */
  get media() {
    return this.connections.media;
  }

  get publications() {
    return this.connections.publications;
  }

  /**
   * Resolves when the room is joined (possibly after a wait in the lobby), rejects with the reason otherwise.
   * @param {object} options
   * @param {string | ((refused: string) => Promise<string>)} options.token a function is called for each new session,
   *   with the error code if the last token was rejected
   * @param {string} [options.name]
   * @param {Record<string, string>} [options.attributes]
   * @returns {Promise<RoomState>}
   */
  join({ token, name = '', attributes = {} }) {
    const socket = new Socket({
      url: this.url,
      WebSocket: this.WebSocket,
      join: async (refused) => ({
        type: 'join',
        token: typeof token === 'string' ? token : await token(refused),
        name,
        attributes,
        client: CLIENT,
        protocol: 1,
      }),
    });
    this.#socket = socket;
    this.#set({ ...initial, phase: 'connecting' });
    return new Promise((resolve, reject) => {
      socket.on('joined', (message) => {
        try {
          this.#joined(message);
        } catch (error) {
          // The browser blocks peer connections, for example by policy.
          this.emit('error', /** @type {Error} */ (error));
          socket.leave('failed', { reason: 'webrtc_blocked', message: String(error) });
          return;
        }
        resolve(this.state);
      });
      socket.on('waiting', () => this.#set({ ...this.state, phase: 'waiting' }));
      socket.on('message', (message) => this.#receive(message));
      socket.on('reconnecting', (attempt) => {
        if (this.state.phase === 'joined') this.#set({ ...this.state, phase: 'reconnecting' });
        this.emit('reconnecting', attempt);
      });
      socket.on('closed', (leave) => {
        this.#close(leave);
        reject(Object.assign(new Error(leave.message), { code: leave.reason }));
      });
      socket.open();
    });
  }

  /** @param {string} [reason] */
  leave(reason) {
    this.#socket?.leave(reason);
  }

  /** Drops the signalling socket and resumes the session on a new one. Media continues. */
  renew() {
    this.#socket?.renew();
  }

  /** Reconnects at once, without waiting for the back-off: the network is back or the page is visible again. */
  hurry() {
    this.#socket?.hurry();
  }

  /**
   * @param {MediaStreamTrack} track
   * @param {{source: Source, name?: string, muted?: boolean}} options
   */
  async publish(track, options) {
    if (!this.publisher) throw new Error('not joined');
    return this.publisher.publish(track, options);
  }

  /** @param {Publication} publication */
  async unpublish(publication) {
    await this.publisher?.unpublish(publication);
  }

  /**
   * Mutes or unmutes a publication on the server. The caller handles the device.
   * @param {Publication} publication
   * @param {boolean} muted
   */
  async mute(publication, muted) {
    const before = publication.muted;
    publication.muted = muted;
    this.#own();
    if (!publication.id) return;
    try {
      await this.#request({ type: 'mute', track: publication.id, muted }, true, `mute ${publication.id}`);
    } catch (error) {
      // The server kept the old state, unless the connection was lost.
      if (error instanceof RequestError && publication.muted === muted) {
        publication.muted = before;
        this.#own();
      }
      throw error;
    }
  }

  /**
   * @param {string} text
   * @param {string} [to] participant id
   */
  chat(text, to = '') {
    return this.#request({ type: 'chat', text, ...(to ? { to } : {}) });
  }

  /**
   * @param {string} topic
   * @param {string} payload
   * @param {{to?: string[], keep?: boolean}} [options]
   */
  send(topic, payload, options = {}) {
    return this.#request({ type: 'data', topic, payload, ...options });
  }

  /**
   * Sends application data over a data channel. It is not stored, and dropped while the channel is not open.
   * @param {string} topic
   * @param {unknown} payload any JSON value
   * @param {{reliable?: boolean}} [options]
   */
  cast(topic, payload, { reliable = false } = {}) {
    this.publisher?.cast(topic, payload, reliable);
  }

  // The server notifies everyone except the requester, who learns from the answer.

  /** @param {Record<string, string>} attributes an empty value removes the attribute */
  async setAttributes(attributes) {
    await this.#request({ type: 'metadata', attributes }, true, `attributes ${Object.keys(attributes).sort()}`);
    const kept = Object.entries({ ...this.state.me?.attributes, ...attributes }).filter(([, value]) => value !== '');
    this.#update({ attributes: Object.fromEntries(kept) });
  }

  /** @param {string} name */
  async setName(name) {
    await this.#request({ type: 'metadata', name }, true, 'name');
    this.#update({ name });
  }

  /**
   * Mutes another participant's track (admins).
   * @param {string} participant
   * @param {string} track
   */
  async silence(participant, track) {
    await this.#request({ type: 'mute', track, muted: true });
    this.#set(reduce(this.state, { type: 'track_muted', participant, track, muted: true }));
  }

  /** @param {{locked?: boolean, lobby?: boolean, metadata?: string}} change (admins) */
  async updateRoom(change) {
    await this.#request({ type: 'room', ...change });
    this.#set({ ...this.state, room: { ...this.state.room, ...change } });
  }

  /**
   * Starts, stops or changes the live stream and the recording (permissions `egress`, `record`).
   * @param {{live?: boolean, recording?: boolean, layout?: import('./types.js').EgressLayout, focus?: string}} change
   */
  updateEgress(change) {
    return this.#request({ type: 'egress', ...change });
  }

  /**
   * @param {string} participant (admins)
   * @param {string} [reason]
   */
  kick(participant, reason = '') {
    return this.#request({ type: 'kick', participant, reason });
  }

  /** @param {string} participant (admins) */
  admit(participant) {
    return this.#request({ type: 'admit', participant });
  }

  /** @param {string} participant (admins) */
  deny(participant) {
    return this.#request({ type: 'deny', participant });
  }

  /** Statistics of both connections since the last call. */
  stats() {
    return this.connections.stats(this.#memory);
  }

  /**
   * @param {import('./types.js').Outgoing} message
   * @param {boolean} [repeatable]
   * @param {string} [key] only the newest request of a key counts
   * @returns {Promise<Incoming>}
   */
  #request(message, repeatable = false, key = '') {
    if (!this.#socket) return Promise.reject(new Error('not joined'));
    return this.#socket.request(message, { repeatable, key });
  }

  /** @param {Partial<Participant>} change of oneself */
  #update(change) {
    if (this.state.me) this.#set({ ...this.state, me: { ...this.state.me, ...change } });
  }

  /** The server does not announce a participant's own tracks to it; they follow from its publications. */
  #own() {
    const tracks = [...this.publications].filter(({ id }) => id).map(ownTrack);
    this.#update({ tracks });
  }

  /** @param {RoomState} state */
  #set(state) {
    if (state === this.state) return;
    this.state = state;
    this.subscriptionSettings.tracks(videoTracks(state));
    this.emit('change', state);
  }

  /** @param {Incoming} message */
  #joined(message) {
    const resumed = Boolean(message.resumed && this.subscriber);
    const rebuilt = Boolean(message.rebuild && this.subscriber);
    this.#set(reduce(this.state, message));
    if (resumed) {
      this.connections.iceServers = message.ice_servers ?? [];
    } else {
      this.#memory.clear();
      this.subscriptionSettings.forget();
      this.connections.open(message.ice_servers ?? [], rebuilt);
    }
    this.reporter.start();
    this.emit('joined', { resumed, rebuilt });
    if (resumed) {
      this.#own();
      this.connections.check(new Set((message.participant?.tracks ?? []).map((/** @type {{id: string}} */ { id }) => id)));
    }
  }

  /**
   * The server ended a track: the publishing connection failed, or an operator changed the permissions. A new
   * connection takes over the allowed tracks. A permission change arrives after the end of the tracks, so wait for it.
   * @param {string} track
   */
  #lost(track) {
    setTimeout(() => this.state.phase !== 'left' && this.connections.replacePublisher(track), SETTLE_MS);
  }

  /** @param {Incoming} message */
  #receive(message) {
    const before = this.state;
    if (message.type === 'leave') {
      const { reason, message: text, action, retry_after: retryAfter = 0 } = message;
      this.#set({ ...before, leave: { reason, message: text, action, retryAfter } });
      return;
    }
    if (message.type === 'offer') {
      const { id = 0, sdp, tracks = {}, fresh = false } = message;
      this.subscriber?.take({ id, sdp, tracks, fresh });
      return;
    }
    if (message.type === 'layers_wanted') {
      this.publisher?.send(message.track, message.layers);
      return;
    }
    if (message.type === 'ice_servers') {
      this.connections.useIceServers(message.ice_servers ?? [], message.restart);
      return;
    }
    if (message.type === 'draining') {
      this.#set({ ...before, drainedBy: Date.now() / 1000 + message.seconds });
      return;
    }
    this.#set(reduce(before, message));
    if (message.type === 'track_unpublished' && message.participant === before.me?.id) {
      this.#lost(message.track);
    } else if (message.type === 'participant_joined') {
      this.emit('came', participantOf(message.participant));
    } else if (message.type === 'participant_left') {
      const participant = before.participants.get(message.participant);
      if (participant) this.emit('went', { participant, reason: message.reason ?? '' });
    } else if (message.type === 'chat_message') {
      this.emit('chat', { to: '', ...message.entry });
    } else if (message.type === 'data_message') {
      this.emit('data', message.entry);
    } else if (message.type === 'track_muted' && message.muted && message.by) {
      const publication = [...this.publications].find(({ id }) => id === message.track);
      if (publication) this.emit('muted', { publication, by: message.by });
    }
  }

  /** @param {Leave} leave */
  #close(leave) {
    this.reporter.stop();
    this.connections.close();
    this.#set({ ...this.state, phase: 'left', leave });
  }
}
