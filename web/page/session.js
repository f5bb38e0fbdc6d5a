/**
 * One stay in a room: brings what the devices give and what the room knows together.
 *
 * `sync` compares what is published with what should be and mends the difference; it runs after every change and one run
 * at a time, so that no order of clicks can leave the two apart.
 * @module
 */

import { Room } from '../client/room.js';
import { at } from './base.js';

/** @typedef {import('../client/publisher.js').Publication} Publication */
/** @typedef {import('../client/types.js').Source} Source */
/** @typedef {import('./local.js').LocalMedia} LocalMedia */

/** Signalling lies beside the page, on whatever host and scheme the page came from. */
const socketUrl = () => at('ws').replace(/^http/, 'ws');

const CODECS = /** @type {const} */ (['vp8', 'vp9', 'av1', 'h264']);

/**
 * Options for testing and for the curious, in the address after `#`: codec=vp9, simulcast=off, red=off, dtx=off.
 * @param {URLSearchParams} options
 * @returns {Partial<import('../client/publisher.js').Preferences>}
 */
export function mediaPreferences(options) {
  const video = CODECS.find((codec) => codec === options.get('codec'));
  const off = (/** @type {string} */ name) => options.get(name) === 'off';
  return { ...(video ? { video } : {}), red: !off('red'), dtx: !off('dtx'), simulcast: !off('simulcast') };
}

export class Session {
  #running = false;
  #again = false;
  #ended = false;

  /**
   * @param {LocalMedia} local
   * @param {Partial<import('../client/publisher.js').Preferences>} preferences
   * @param {(error: Error, source: Source) => void} refused a source that could not be published
   */
  constructor(local, preferences, refused) {
    this.local = local;
    this.refused = refused;
    this.room = new Room({ url: socketUrl(), preferences });
    this.stopListening = local.on('change', () => this.sync());
    this.room.on('joined', () => this.sync());
    this.room.on('muted', ({ publication }) => this.#obey(publication));
    this.room.on('change', ({ phase }) => phase === 'left' && this.end());
  }

  end() {
    this.#ended = true;
    this.stopListening();
  }

  /** Publishes what should be seen and heard, takes back what should not. */
  async sync() {
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    do {
      this.#again = false;
      if (this.room.state.phase !== 'joined') break;
      const { microphone, camera, screen } = this.local.state;
      await this.#mend('microphone', microphone.sent, microphone.wanted, true);
      await this.#mend('camera', camera.track, camera.wanted, true);
      await this.#mend('screen_share', screen?.video ?? null, true, false);
      await this.#mend('screen_share_audio', screen?.audio ?? null, true, false);
    } while (this.#again && !this.#ended);
    this.#running = false;
  }

  /** @param {Source} source */
  #published(source) {
    return [...this.room.publications].find((publication) => publication.source === source);
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   * @param {boolean} on
   * @param {boolean} stays published though nothing is sent, so that coming back is quick
   */
  async #mend(source, track, on, stays) {
    const { publish, sources } = this.room.state.permissions;
    if (!publish || (sources.length && !sources.includes(source))) return;
    const publication = this.#published(source);
    try {
      if (!publication) {
        if (track && on) await this.room.publish(track, { source });
      } else if (!track && !stays) {
        await this.room.unpublish(publication);
      } else {
        if (publication.track !== track) await this.room.publisher?.replace(publication, track);
        const muted = !on || !track;
        if (publication.muted !== muted) await this.room.mute(publication, muted);
      }
    } catch (error) {
      if (!this.#ended) this.refused(/** @type {Error} */ (error), source);
    }
  }

  /** An admin muted a track: the device follows. @param {Publication} publication */
  #obey(publication) {
    publication.muted = true;
    if (publication.source === 'microphone') this.local.set('microphone', false, { remember: false });
    else if (publication.source === 'camera') this.local.set('camera', false, { remember: false });
    else this.local.unshare();
  }
}
