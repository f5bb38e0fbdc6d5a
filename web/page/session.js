/**
 * A session in a room: connects the local devices with the room.
 *
 * `sync` compares the published tracks with the intended ones and corrects the difference. It runs after every change,
 * one run at a time, so that no order of clicks leaves them inconsistent.
 * @module
 */

import { ConnectionLost, RequestError } from '../client/errors.js';
import { Room } from '../client/room.js';
import { at } from './base.js';

/** @typedef {import('../client/publisher.js').Publication} Publication */
/** @typedef {import('../client/types.js').Source} Source */
/** @typedef {import('./local.js').LocalMedia} LocalMedia */

/** The signalling endpoint is on the same host and scheme as the page. */
const socketUrl = () => at('ws').replace(/^http/, 'ws');

const CODECS = /** @type {const} */ (['vp8', 'vp9', 'av1', 'h264']);

/**
 * Options for tests and experiments, in the URL fragment: codec=vp9, simulcast=off, red=off, dtx=off.
 * @param {URLSearchParams} options
 * @returns {Partial<import('../client/publisher.js').Preferences>}
 */
export function mediaPreferences(options) {
  const video = CODECS.find((codec) => codec === options.get('codec'));
  const off = (/** @type {string} */ name) => options.get(name) === 'off';
  return { ...(video ? { video } : {}), red: !off('red'), dtx: !off('dtx'), simulcast: !off('simulcast') };
}

/**
 * @param {import('../client/types.js').Permissions} permissions
 * @param {Source} source
 */
const allows = ({ publish, sources }, source) => publish && (!sources.length || sources.includes(source));

export class Session {
  #running = false;
  #again = false;
  #ended = false;
  /** @type {import('../client/types.js').Permissions | null} */
  #permissions = null;

  /**
   * @param {LocalMedia} local
   * @param {Partial<import('../client/publisher.js').Preferences>} preferences
   * @param {(error: Error, source: Source) => void} refused receives sources that could not be published
   */
  constructor(local, preferences, refused) {
    this.local = local;
    this.refused = refused;
    this.room = new Room({ url: socketUrl(), preferences });
    this.stopListening = local.on('change', () => this.sync());
    this.room.on('joined', () => this.sync());
    this.room.on('muted', ({ publication }) => this.#obey(publication));
    this.room.on('refused', ({ publication, error }) => this.#takeBack(publication, error));
    this.room.on('error', (error) => error instanceof RequestError && this.#publishSingly());
    this.room.on('change', ({ phase, permissions }) => {
      if (phase === 'left') this.end();
      else if (phase === 'joined') this.#permit(permissions);
    });
  }

  end() {
    this.#ended = true;
    this.stopListening();
  }

  /** Publishes and unpublishes tracks according to the devices. */
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
   * @param {boolean} stays published while muted, so that it resumes quickly
   */
  async #mend(source, track, on, stays) {
    if (!allows(this.room.state.permissions, source)) return;
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
      // After a lost connection, the next join publishes the active devices.
      if (this.#ended || error instanceof ConnectionLost) return;
      this.#turnOff(source);
      this.refused(/** @type {Error} */ (error), source);
    }
  }

  /**
   * Turns off the device of a source that is not published.
   * @param {Source} source
   */
  #turnOff(source) {
    if (source === 'screen_share_audio') this.local.unshareSound();
    else if (source !== 'microphone' && source !== 'camera') this.local.unshare();
    else if (this.local.state[source].wanted) this.local.set(source, false, { remember: false });
  }

  /**
   * @param {Publication} publication
   * @param {Error} error
   */
  async #takeBack(publication, error) {
    if (this.#ended || !this.room.publications.has(publication)) return;
    await this.room.unpublish(publication).catch(() => {});
    this.#turnOff(publication.source);
    this.refused(error, publication.source);
  }

  /** A new connection could not publish all sources together. Tries each one alone and turns off the rejected one. */
  async #publishSingly() {
    const refused = [...this.room.publications].filter(({ id }) => !id);
    await Promise.allSettled(refused.map((publication) => this.room.unpublish(publication)));
    if (!this.#ended) await this.sync();
  }

  /** @param {import('../client/types.js').Permissions} permissions */
  #permit(permissions) {
    const before = this.#permissions;
    if (permissions === before) return;
    this.#permissions = permissions;
    const { microphone, camera, screen } = this.local.state;
    for (const [source, on] of /** @type {[Source, boolean][]} */ ([
      ['microphone', microphone.wanted],
      ['camera', camera.wanted],
      ['screen_share', Boolean(screen)],
      ['screen_share_audio', Boolean(screen?.audio)],
    ])) {
      if (!on || allows(permissions, source)) continue;
      this.#turnOff(source);
      if (before && allows(before, source)) this.refused(new RequestError('not_authorized', 'You no longer have permission to share it.'), source);
    }
  }

  /** An admin muted a track: turns off the device. @param {Publication} publication */
  #obey(publication) {
    publication.muted = true;
    if (publication.source === 'microphone') this.local.set('microphone', false, { remember: false });
    else if (publication.source === 'camera') this.local.set('camera', false, { remember: false });
    else this.#turnOff(publication.source);
  }
}
