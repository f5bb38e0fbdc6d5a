/**
 * Plays the audio of the others: one audio element per received track, all on the selected speaker.
 *
 * Browsers pause these elements for a phone call, for another app, or when the output device disappears, and most do
 * not resume them. Every indication that the interruption is over restarts them. If the browser refuses, the page asks
 * for a user gesture.
 * @module
 */

import { whenOver } from './interruptions.js';

/** Browsers refuse playback briefly during an interruption, so only a longer refusal is reported. */
const PATIENCE_MS = 800;
/** An element that pauses again within this time after its start waits for the next check. */
const RESTART_MS = 250;

export class Sound {
  /** @type {Map<MediaStreamTrack, HTMLAudioElement>} */
  #elements = new Map();
  #speaker = '';
  /** Time since which the browser refuses playback, in milliseconds of the page; 0: it plays. */
  #refused = 0;
  #reported = false;
  /** @type {Set<HTMLAudioElement>} elements whose `play()` is pending */
  #starting = new Set();
  /** @type {WeakMap<HTMLAudioElement, number>} start time of each element */
  #startedAt = new WeakMap();

  /** @param {(blocked: boolean) => void} blocked receives whether the browser requires a gesture before it plays audio */
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
      // Paused by an interruption. Removed elements are no longer in the map.
      element.addEventListener('pause', () => {
        if (performance.now() - (this.#startedAt.get(element) ?? 0) > RESTART_MS) this.#start(element);
      });
      element.addEventListener('playing', () => this.#judge());
      this.#direct(element);
      this.#start(element);
    }
    this.#judge();
  }

  /** Plays paused elements. May be called by a user gesture. */
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
      // Refused or interrupted again: the next check retries.
    } finally {
      this.#starting.delete(element);
    }
    this.#judge();
  }

  /** Reports whether audio is blocked. */
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

/** An ended track is not an interruption. @param {HTMLAudioElement} element */
const interrupted = ({ paused, srcObject }) => paused && srcObject instanceof MediaStream && srcObject.active;
