/**
 * The subscribing connection: the server offers, the client answers. Maps received tracks to the server's track ids.
 * @module
 */

import { Emitter } from './emitter.js';
import { adaptJitterBuffer } from './jitter_buffer.js';
import { brief, withStereo } from './sdp.js';
import { watch } from './watch.js';

/** @typedef {{id: number, sdp: string, tracks: Record<string, string>, fresh: boolean}} Offer */
/**
 * @typedef {object} SubscriberEvents
 * @property {ReadonlyMap<string, MediaStreamTrack>} media received tracks by the server's track id, on every change
 * @property {RTCPeerConnectionState} state
 */

/** @extends {Emitter<SubscriberEvents>} */
export class Subscriber extends Emitter {
  /** @type {ReadonlyMap<string, MediaStreamTrack>} */
  media = new Map();
  /** @type {ReadonlyMap<string, string>} m-line id → track id */
  tracks = new Map();
  /** @type {Promise<void>} */
  #queue = Promise.resolve();
  #closed = false;

  /**
   * @param {object} options
   * @param {(answer: {id: number, sdp: string}) => void} options.answer
   * @param {() => Promise<unknown>} options.restart asks the server for an offer with new ICE credentials
   * @param {RTCIceServer[]} [options.iceServers]
   * @param {ReadonlyMap<string, MediaStreamTrack>} [options.stale] tracks of an earlier connection: each shows its last
   *   picture until the track arrives on this one
   */
  constructor({ answer, restart, iceServers = [], stale = new Map() }) {
    super();
    this.stale = stale;
    this.media = stale;
    this.answer = answer;
    this.restart = restart;
    this.iceServers = iceServers;
    /** @type {RTCPeerConnection | null} created with the first offer, and again when the server requests it */
    this.connection = null;
    this.unwatch = () => {};
    this.stopAdapting = () => {};
  }

  /**
   * Applies an offer of the server. Offers are processed in order of arrival.
   * @param {Offer} offer
   */
  take(offer) {
    this.#queue = this.#queue.then(() => this.#apply(offer)).catch((error) => {
      if (!this.#closed) console.error('sfu: could not apply an offer of the server', error);
    });
    return this.#queue;
  }

  /**
   * ICE servers for the next ICE restart.
   * @param {RTCIceServer[]} iceServers
   */
  use(iceServers) {
    this.iceServers = iceServers;
    this.connection?.setConfiguration({ ...this.connection.getConfiguration(), iceServers });
  }

  /** @param {{keep?: boolean}} [options] `keep`: the next connection continues with the tracks */
  close({ keep = false } = {}) {
    this.#closed = true;
    this.unwatch();
    this.stopAdapting();
    this.connection?.close();
    if (keep) return;
    this.media = new Map();
    this.emit('media', this.media);
  }

  #renew() {
    this.unwatch();
    this.stopAdapting();
    this.connection?.close();
    this.connection = new RTCPeerConnection({ iceServers: this.iceServers, bundlePolicy: 'max-bundle' });
    this.unwatch = watch(
      this.connection,
      () => void this.restart().catch(() => {}),
      (state) => this.emit('state', state),
    );
    this.stopAdapting = adaptJitterBuffer(this.connection);
    return this.connection;
  }

  /** @param {Offer} offer */
  async #apply({ id, sdp, tracks, fresh }) {
    if (this.#closed) return;
    const connection = fresh || !this.connection ? this.#renew() : this.connection;
    await connection.setRemoteDescription({ type: 'offer', sdp });
    const answer = await connection.createAnswer();
    await connection.setLocalDescription({ type: 'answer', sdp: withStereo(answer.sdp ?? '', sdp) });
    if (this.#closed) return;
    this.answer({ id, sdp: brief(connection.localDescription?.sdp ?? '') });
    this.tracks = new Map(Object.entries(tracks));
    /** @type {Map<string, MediaStreamTrack>} */
    const media = new Map(this.stale);
    for (const { mid, receiver } of connection.getTransceivers()) {
      const trackId = this.tracks.get(mid ?? '');
      if (trackId) media.set(trackId, receiver.track);
    }
    this.media = media;
    this.emit('media', this.media);
  }
}
