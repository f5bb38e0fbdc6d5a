/**
 * The media connections of a room: opens them for a session, replaces a publishing connection that failed, and moves both to
 * other TURN servers. Publications outlive their connection.
 * @module
 */

import { Emitter } from './emitter.js';
import { RequestError } from './errors.js';
import { Publisher } from './publisher.js';
import { digest } from './stats.js';
import { Subscriber } from './subscriber.js';

/** @typedef {import('./publisher.js').Publication} Publication */
/**
 * @typedef {object} MediaConnectionsEvents
 * @property {ReadonlyMap<string, MediaStreamTrack>} media received tracks by track id
 * @property {{from: string, topic: string, payload: unknown, reliable: boolean}} packet application data over a data channel
 * @property {{publication: Publication, error: RequestError}} refused the server did not accept one of the tracks
 * @property {boolean} lost whether a connection has lost its path
 * @property {void} negotiated the ids of the publications are known
 * @property {Error} error
 */

const SETTLE_MS = 50;

/** @extends {Emitter<MediaConnectionsEvents>} */
export class MediaConnections extends Emitter {
  /** @type {Publisher | null} */
  publisher = null;
  /** @type {Subscriber | null} */
  subscriber = null;
  /** @type {RTCIceServer[]} used by the next connection */
  iceServers = [];

  /**
   * @param {object} options
   * @param {Partial<import('./publisher.js').Preferences>} options.preferences codec and other media preferences
   * @param {() => import('./types.js').RoomState['permissions']} options.permissions of the participant
   * @param {(message: import('./types.js').Outgoing, repeatable?: boolean) => Promise<import('./types.js').Incoming>} options.request
   * @param {(answer: {id: number, sdp: string}) => void} options.answer sends an answer to the server
   */
  constructor({ preferences, permissions, request, answer }) {
    super();
    this.preferences = preferences;
    this.permissions = permissions;
    this.request = request;
    this.answer = answer;
  }

  /** Received tracks by track id. */
  get media() {
    return this.subscriber?.media ?? new Map();
  }

  /** @returns {ReadonlySet<Publication>} */
  get publications() {
    return this.publisher?.publications ?? new Set();
  }

  /**
   * Opens new connections for a new session and republishes all tracks.
   * @param {RTCIceServer[]} iceServers
   * @param {boolean} rebuilt the ids of received tracks are still valid
   */
  open(iceServers, rebuilt) {
    this.iceServers = iceServers;
    const stale = rebuilt ? this.media : new Map();
    this.subscriber?.close({ keep: rebuilt });
    const subscriber = new Subscriber({
      iceServers,
      stale,
      answer: this.answer,
      restart: () => this.request({ type: 'restart' }),
    });
    subscriber.on('state', () => this.#watchPaths());
    subscriber.on('media', (media) => this.emit('media', media));
    this.subscriber = subscriber;
    this.#publish([...this.publications]);
  }

  /**
   * A new publishing connection takes over the allowed publications, if one of them has the lost track.
   * @param {string} track
   */
  replacePublisher(track) {
    if (![...this.publications].some(({ id }) => id === track)) return;
    const { publish, sources } = this.permissions();
    this.#publish([...this.publications].filter(({ source }) => publish && (!sources.length || sources.includes(source))));
  }

  /**
   * After a resume: replaces or restarts connections that failed meanwhile.
   * @param {ReadonlySet<string>} known own tracks known to the server
   */
  check(known) {
    const lost = [...this.publications].find(({ id }) => id && !known.has(id));
    if (lost) return this.replacePublisher(lost.id);
    if (this.publisher?.connection.connectionState === 'failed') this.publisher.restart();
    if (this.subscriber?.connection?.connectionState === 'failed') this.request({ type: 'restart' }).catch(() => {});
  }

  /**
   * @param {RTCIceServer[]} iceServers new TURN servers or credentials
   * @param {boolean} [restart] moves media away from a server that has failed
   */
  useIceServers(iceServers, restart = false) {
    this.iceServers = iceServers;
    this.publisher?.use(iceServers);
    this.subscriber?.use(iceServers);
    if (!restart) return;
    this.publisher?.restart();
    this.request({ type: 'restart' }).catch(() => {});
  }

  /** @param {import('./stats.js').Memory} memory of the caller: each caller has its own rates */
  async stats(memory) {
    const now = performance.now() / 1000;
    const reports = await Promise.all([
      this.publisher?.connection.getStats().catch(() => null),
      this.subscriber?.connection?.getStats().catch(() => null),
    ]);
    const mids = new Map([...this.publications].map(({ transceiver, id }) => [`publish ${transceiver.mid}`, id]));
    for (const [mid, track] of this.subscriber?.tracks ?? []) mids.set(`subscribe ${mid}`, track);
    return digest({ publish: reports[0] ?? null, subscribe: reports[1] ?? null }, mids, memory, now);
  }

  close() {
    this.publisher?.close();
    this.subscriber?.close();
  }

  /** @param {Publication[]} before publications that the new connection takes over */
  #publish(before) {
    this.publisher?.close();
    const publisher = new Publisher({
      iceServers: this.iceServers,
      preferences: this.preferences,
      offer: async (offer) => {
        const answer = await this.request({ type: 'publish', ...offer }, true);
        this.#reportRefused(offer.tracks, answer.tracks ?? {});
        return answer;
      },
    });
    publisher.on('state', () => this.#watchPaths());
    publisher.on('packet', (packet) => this.emit('packet', packet));
    publisher.on('error', (error) => this.emit('error', error));
    publisher.on('negotiated', () => this.emit('negotiated', undefined));
    this.publisher = publisher;
    for (const publication of before) publisher.adopt(publication);
    const { publish, data } = this.permissions();
    if (publish || data) publisher.open();
  }

  /**
   * An answer without a track id for an offered m-line means that the server rejects this track.
   * @param {object[]} offered
   * @param {Record<string, string>} taken
   */
  #reportRefused(offered, taken) {
    for (const { mid } of /** @type {{mid: string}[]} */ (offered)) {
      const publication = taken[mid] ? undefined : [...this.publications].find(({ transceiver }) => transceiver.mid === mid);
      const error = new RequestError('not_accepted', 'The server did not accept the track.');
      // After the answer is applied.
      if (publication) setTimeout(() => this.emit('refused', { publication, error }), SETTLE_MS);
    }
  }

  #watchPaths() {
    const states = [this.publisher?.connection.connectionState, this.subscriber?.connection?.connectionState];
    this.emit('lost', states.some((state) => state === 'failed' || state === 'disconnected'));
  }
}
