/**
 * The publishing connection: the client offers, the server answers. Sends tracks in simulcast layers and provides two
 * data channels, `reliable` and `lossy`.
 *
 * Changes only mark the connection as dirty. One negotiation at a time transfers all changes since the last one.
 * @module
 */

import { encodings, layerSpecs, ordered } from './codecs.js';
import { Emitter } from './emitter.js';
import { withOpus } from './sdp.js';
import { watch } from './watch.js';

/** @typedef {import('./types.js').Source} Source */
/** @typedef {import('./types.js').Incoming} Incoming */
/** @typedef {import('./codecs.js').VideoCodec} VideoCodec */

/**
 * One track that this participant publishes.
 * @typedef {object} Publication
 * @property {string} id the server's track id; empty until the first answer
 * @property {string} former its track id on an earlier connection; a node that took the room over restores it
 * @property {Source} source
 * @property {string} name
 * @property {boolean} muted
 * @property {number} width
 * @property {number} height
 * @property {MediaStreamTrack | null} track the track being sent
 * @property {RTCRtpTransceiver} transceiver
 */
/** @typedef {{video: VideoCodec, red: boolean, dtx: boolean, simulcast: boolean}} Preferences */
/**
 * @typedef {object} PublisherEvents
 * @property {RTCPeerConnectionState} state
 * @property {{from: string, topic: string, payload: unknown, reliable: boolean}} packet application data
 * @property {null} negotiated the server has all changes; ids are up to date
 * @property {Error} error a negotiation without a pending caller failed
 */

/** @type {Preferences} */
export const defaults = { video: 'vp8', red: true, dtx: true, simulcast: true };
const SCREEN_SOUND_BITRATE = 128_000;

/** @extends {Emitter<PublisherEvents>} */
export class Publisher extends Emitter {
  /** @type {Set<Publication>} */
  publications = new Set();
  /** @type {Map<Publication, string[]>} layers with subscribers, if the server has reported them */
  #wanted = new Map();
  /** @type {Set<RTCRtpTransceiver>} of removed publications, until their m-line can be stopped */
  #retired = new Set();
  #dirty = false;
  #closed = false;
  /** @type {Promise<void> | null} */
  #running = null;

  /**
   * @param {object} options
   * @param {(offer: {sdp: string, tracks: object[]}) => Promise<Incoming>} options.offer
   * @param {RTCIceServer[]} [options.iceServers]
   * @param {Partial<Preferences>} [options.preferences]
   */
  constructor({ offer, iceServers = [], preferences = {} }) {
    super();
    this.offer = offer;
    this.preferences = { ...defaults, ...preferences };
    this.iceServers = iceServers;
    this.connection = this.#connect();
    this.channels = this.#open(this.connection);
    this.unwatch = this.#watch(this.connection);
  }

  #connect() {
    return new RTCPeerConnection({ iceServers: this.iceServers, bundlePolicy: 'max-bundle' });
  }

  /** @param {RTCPeerConnection} connection */
  #open(connection) {
    const channels = {
      reliable: connection.createDataChannel('reliable'),
      lossy: connection.createDataChannel('lossy', { ordered: false, maxRetransmits: 0 }),
    };
    for (const channel of Object.values(channels)) {
      channel.onmessage = ({ data }) => this.#packet(channel, data);
    }
    return channels;
  }

  /** @param {RTCPeerConnection} connection */
  #watch(connection) {
    return watch(
      connection,
      () => this.restart(),
      (state) => this.emit('state', state),
    );
  }

  /** Publishes everything on a new connection, because the old one has reached the server's limit of streams. */
  #renew() {
    this.unwatch();
    this.connection.close();
    this.#wanted.clear();
    this.#retired.clear();
    this.connection = this.#connect();
    this.channels = this.#open(this.connection);
    this.unwatch = this.#watch(this.connection);
    for (const publication of this.publications) this.adopt(publication);
  }

  /**
   * Sends application data to all other participants. Data is dropped while the channel is not open. Throws a
   * RangeError if the message exceeds the server's limit.
   * @param {string} topic
   * @param {unknown} payload
   * @param {boolean} reliable in order and complete, or as fast as possible
   */
  cast(topic, payload, reliable) {
    const channel = reliable ? this.channels.reliable : this.channels.lossy;
    if (channel.readyState !== 'open') return;
    const text = JSON.stringify({ topic, payload });
    const limit = this.connection.sctp?.maxMessageSize ?? Infinity;
    const size = 3 * text.length > limit ? new TextEncoder().encode(text).length : 0;
    if (size > limit) throw new RangeError(`The message has ${size} bytes; the limit is ${limit}.`);
    channel.send(text);
  }

  /** Connects without tracks, for data channels only. */
  open() {
    this.#negotiate().catch((error) => this.emit('error', error));
  }

  /**
   * @param {MediaStreamTrack} track
   * @param {{source: Source, name?: string, muted?: boolean}} options
   * @returns {Promise<Publication>}
   */
  async publish(track, { source, name = '', muted = false }) {
    const { width = 0, height = 0 } = track.kind === 'video' ? track.getSettings() : {};
    const transceiver = this.#add(track.kind, track, source, width, height);
    /** @type {Publication} */
    const publication = { id: '', former: '', source, name, muted, width, height, track, transceiver };
    this.publications.add(publication);
    try {
      await this.#negotiate();
    } catch (error) {
      if (!publication.id) this.#drop(publication);
      throw error;
    }
    return publication;
  }

  /**
   * Takes over a publication of an earlier connection; the next negotiation announces it.
   * @param {Publication} publication the same object, so that references to it remain valid
   */
  adopt(publication) {
    const { source, track, width, height } = publication;
    const live = track?.readyState === 'live' ? track : null;
    const kind = source === 'microphone' || source === 'screen_share_audio' ? 'audio' : 'video';
    publication.transceiver = this.#add(kind, live, source, width, height);
    publication.track = live;
    publication.former = publication.id || publication.former;
    publication.id = '';
    this.publications.add(publication);
  }

  /** @param {Publication} publication */
  async unpublish(publication) {
    this.#drop(publication);
    await this.#negotiate();
  }

  /**
   * Replaces the track of a publication (or removes it), without a negotiation.
   * @param {Publication} publication
   * @param {MediaStreamTrack | null} track
   */
  async replace(publication, track) {
    await publication.transceiver.sender.replaceTrack(track);
    publication.track = track;
    const { width = 0, height = 0 } = track?.kind === 'video' ? track.getSettings() : {};
    if (width && (width !== publication.width || height !== publication.height)) {
      publication.width = width;
      publication.height = height;
      await this.#rate(publication);
    }
  }

  /**
   * Sends only these layers of a track, because the others have no subscribers.
   * @param {string} id of the track
   * @param {string[]} rids
   */
  send(id, rids) {
    const publication = [...this.publications].find((each) => each.id === id);
    if (!publication) return;
    this.#wanted.set(publication, rids);
    this.#activate(publication, rids);
  }

  /**
   * @param {Publication} publication
   * @param {string[]} rids
   */
  #activate({ transceiver: { sender } }, rids) {
    const parameters = sender.getParameters();
    const changed = (parameters.encodings ?? []).filter(({ rid, active }) => rid && active !== rids.includes(rid));
    if (!changed.length) return;
    for (const encoding of changed) encoding.active = !encoding.active;
    sender.setParameters(parameters).catch(() => {}); // the next answer applies the change again
  }

  /** ICE restart: new ICE credentials, same DTLS session. */
  restart() {
    if (this.#closed) return;
    this.connection.restartIce();
    this.#negotiate().catch((error) => this.emit('error', error));
  }

  /**
   * ICE servers for the next ICE restart.
   * @param {RTCIceServer[]} iceServers
   */
  use(iceServers) {
    this.iceServers = iceServers;
    this.connection.setConfiguration({ ...this.connection.getConfiguration(), iceServers });
  }

  close() {
    this.#closed = true;
    this.unwatch();
    this.connection.close();
  }

  /**
   * @param {string} kind
   * @param {MediaStreamTrack | null} track
   * @param {Source} source
   * @param {number} width
   * @param {number} height
   */
  #add(kind, track, source, width, height) {
    const { video, red, simulcast } = this.preferences;
    const sent = track ?? kind;
    if (kind === 'audio') {
      const transceiver = this.connection.addTransceiver(sent, { direction: 'sendonly' });
      // RED repeats each packet inside the next one. For screen audio, a higher bitrate is the better use.
      prefer(transceiver, 'audio', red && source === 'microphone' ? ['red', 'opus'] : ['opus', 'red']);
      return transceiver;
    }
    const sendEncodings = encodings(source, width, height, video, simulcast);
    let transceiver;
    try {
      transceiver = this.connection.addTransceiver(sent, { direction: 'sendonly', sendEncodings });
    } catch {
      const plain = sendEncodings.map(({ scalabilityMode, ...encoding }) => encoding);
      transceiver = this.connection.addTransceiver(sent, { direction: 'sendonly', sendEncodings: plain });
    }
    prefer(transceiver, 'video', [video]);
    return transceiver;
  }

  /**
   * @param {RTCDataChannel} channel
   * @param {unknown} data
   */
  #packet(channel, data) {
    if (typeof data !== 'string') return;
    const { from = '', topic = '', payload = null } = JSON.parse(data);
    this.emit('packet', { from, topic, payload, reliable: channel === this.channels.reliable });
  }

  /** @param {Publication} publication */
  #drop(publication) {
    const { transceiver } = publication;
    if (!this.publications.delete(publication)) return;
    this.#wanted.delete(publication);
    if (this.connection.signalingState === 'closed') return;
    // Chromium can no longer create offers after a transceiver with a rolled-back m-line is stopped, so stopping is deferred.
    if (transceiver.currentDirection === 'stopped') return; // the server rejected its m-line
    transceiver.direction = 'inactive';
    transceiver.sender.replaceTrack(null).catch(() => {});
    this.#retired.add(transceiver);
  }

  /** Stops the transceivers of removed publications, to free their m-lines. A transceiver without an m-line gets one first. */
  #retire() {
    for (const transceiver of this.#retired) {
      if (transceiver.mid === null) continue;
      this.#retired.delete(transceiver);
      transceiver.stop();
    }
  }

  /** @param {Publication} publication */
  async #rate({ source, width, height, transceiver: { sender } }) {
    const parameters = sender.getParameters();
    const wanted = encodings(source, width, height, this.preferences.video, this.preferences.simulcast);
    for (const encoding of parameters.encodings ?? []) {
      const match = wanted.find(({ rid }) => rid === encoding.rid);
      if (match) encoding.maxBitrate = match.maxBitrate;
    }
    await sender.setParameters(parameters).catch(() => {});
  }

  /** @returns {Promise<void>} resolves when the server has all current changes */
  #negotiate() {
    this.#dirty = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #run() {
    let renewed = false;
    while (this.#dirty && !this.#closed) {
      this.#dirty = false;
      this.#retire();
      const { connection } = this;
      await connection.setLocalDescription(await connection.createOffer());
      const sdp = connection.localDescription?.sdp ?? '';
      let answer;
      try {
        answer = await this.offer({ sdp, tracks: this.#specs() });
        if (this.#closed) return;
        await connection.setRemoteDescription({ type: 'answer', sdp: this.#tuned(answer.sdp) });
      } catch (error) {
        if (this.#closed) throw error;
        if (/** @type {{code?: string}} */ (error).code === 'connection_exhausted' && !renewed) {
          renewed = this.#dirty = true;
          this.#renew();
          continue;
        }
        await connection.setLocalDescription({ type: 'rollback' }).catch(() => {});
        throw error;
      }
      for (const publication of this.publications) {
        publication.id = answer.tracks?.[publication.transceiver.mid ?? ''] ?? publication.id;
      }
      // Chromium activates every layer of the answer.
      for (const [publication, rids] of this.#wanted) this.#activate(publication, rids);
      this.emit('negotiated', null);
    }
  }

  #specs() {
    // A publication added while this offer was created has no m-line yet; the next round includes it.
    const offered = [...this.publications].filter(({ transceiver }) => transceiver.mid !== null);
    return offered.map(({ id, former, source, name, muted, width, height, transceiver }) => ({
      mid: transceiver.mid,
      ...(former && !id ? { track: former } : {}),
      source,
      name,
      muted,
      width,
      height,
      layers: layerSpecs(transceiver.sender.getParameters().encodings ?? [], width, height),
    }));
  }

  /** @param {string} sdp */
  #tuned(sdp) {
    const sources = new Map([...this.publications].map(({ transceiver, source }) => [transceiver.mid, source]));
    /** @type {Record<string, number>} */
    const screen = { stereo: 1, 'sprop-stereo': 1, maxaveragebitrate: SCREEN_SOUND_BITRATE };
    /** @type {Record<string, number>} */
    const voice = { useinbandfec: 1, usedtx: this.preferences.dtx ? 1 : 0 };
    return withOpus(sdp, (mid) => (sources.get(mid) === 'screen_share_audio' ? screen : voice));
  }
}

/**
 * Describes a publication like a received track.
 * @param {Publication} publication
 * @returns {import('./types.js').Track}
 */
export function ownTrack({ id, source, name, muted, width, height, transceiver }) {
  const kind = transceiver.receiver.track.kind === 'audio' ? 'audio' : 'video';
  return { id, kind, source, name, muted, codec: '', width, height, layers: [] };
}

/**
 * @param {RTCRtpTransceiver} transceiver
 * @param {'audio' | 'video'} kind
 * @param {string[]} wanted
 */
function prefer(transceiver, kind, wanted) {
  const codecs = RTCRtpSender.getCapabilities(kind)?.codecs ?? [];
  try {
    transceiver.setCodecPreferences(ordered(codecs, wanted));
  } catch {
    // Some browsers accept only codecs that they can also receive; then their own order applies.
  }
}
