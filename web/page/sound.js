/**
 * Plays the others' sound: one audio element for each received audio track, all on the chosen speaker.
 *
 * Browsers pause these elements for a phone call, when another app takes the sound, or when the output device goes away, and
 * most do not resume them. Every sign that the interruption may be over starts them again. If the browser refuses, the page
 * asks for a gesture.
 * @module
 */

import { whenOver } from './interruptions.js';

/** A refusal that lasts this long is reported: during an interruption browsers refuse for a moment. */
const PATIENCE_MS = 800;
/** An element that was started less than this ago and is paused again waits for the next check. */
const RESTART_MS = 250;

export class Sound {
  /** @type {Map<MediaStreamTrack, HTMLAudioElement>} */
  #elements = new Map();
  #speaker = '';
  /** Since when the browser does not play, in milliseconds of the page; 0: it plays. */
  #refused = 0;
  #reported = false;
  /** @type {Set<HTMLAudioElement>} elements whose `play()` has not answered yet */
  #starting = new Set();
  /** @type {WeakMap<HTMLAudioElement, number>} when each was started */
  #startedAt = new WeakMap();

  /** @param {(blocked: boolean) => void} blocked receives whether the browser plays no sound until a gesture */
  constructor(blocked) {
    this.blocked = blocked;
    whenOver(() => this.check());
  }

  /** @param {ReadonlyMap<string, MediaStreamTrack>} media */
  play(media) {
    const tracks = new Set([...media.values()].filter(({ kind }) => kind === 'audio'));
    for (const [track, element] of this.#elements) {
      if (tracks.has(track)) continue;
      this.#elements.delete(track);
      element.srcObject = null;
    }
    for (const track of tracks) {
      if (this.#elements.has(track)) continue;
      const element = new Audio();
      element.srcObject = new MediaStream([track]);
      this.#elements.set(track, element);
      // An interruption pauses the element; elements that are removed are no longer in the map.
      element.addEventListener('pause', () => {
        if (performance.now() - (this.#startedAt.get(element) ?? 0) > RESTART_MS) this.#start(element);
      });
      element.addEventListener('playing', () => this.#judge());
      this.#direct(element);
      this.#start(element);
    }
    this.#judge();
  }

  /** Plays what is paused; a gesture of the person may call it. */
  check() {
    for (const element of this.#elements.values()) this.#direct(element);
    for (const element of this.#elements.values()) this.#start(element);
    this.#judge();
  }

  /** @param {string} deviceId */
  speaker(deviceId) {
    if (deviceId === this.#speaker) return;
    this.#speaker = deviceId;
    for (const element of this.#elements.values()) this.#direct(element);
  }

  /** @param {HTMLAudioElement} element */
  #direct(element) {
    if ('setSinkId' in element && element.sinkId !== this.#speaker) element.setSinkId(this.#speaker).catch(() => {});
  }

  /** @param {HTMLAudioElement} element */
  async #start(element) {
    if (!interrupted(element) || this.#starting.has(element)) return;
    this.#starting.add(element);
    this.#startedAt.set(element, performance.now());
    try {
      await element.play();
    } catch {
      // Refused, or interrupted again: the next check tries again.
    } finally {
      this.#starting.delete(element);
    }
    this.#judge();
  }

  /** Reports what the person can hear. */
  #judge() {
    const paused = [...this.#elements.values()].some(interrupted);
    if (!paused) this.#refused = 0;
    else if (!this.#refused) this.#refused = performance.now();
    const blocked = paused && performance.now() - this.#refused >= PATIENCE_MS;
    if (blocked === this.#reported) return;
    this.#reported = blocked;
    this.blocked(blocked);
  }
}

/** A track that has ended plays nothing and is no interruption. @param {HTMLAudioElement} element */
const interrupted = ({ paused, srcObject }) => paused && srcObject instanceof MediaStream && srcObject.active;
