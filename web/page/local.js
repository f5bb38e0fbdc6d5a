/**
 * Local camera, microphone and screen: opening, switching, replacing and closing.
 *
 * A camera that is off is closed, so that its light goes out. A microphone that is off stays open and only its sent
 * track is muted: unmuting is instant, and the page can show a hint when the user speaks while muted.
 * @module
 */

import * as devices from '../client/devices.js';
import { Emitter } from '../client/emitter.js';
import { LevelMeter } from '../client/level.js';
import { load, save } from './preferences.js';

/** @typedef {import('./types.js').LocalState} LocalState */
/** @typedef {'camera' | 'microphone'} Input */

/** @returns {LocalState} */
export function initialLocal() {
  const { camera, microphone, devices: chosen } = load();
  return {
    camera: { wanted: camera, starting: false, track: null },
    microphone: { wanted: microphone, starting: false, track: null, sent: null },
    screen: null,
    chosen,
    devices: devices.none,
    problems: { camera: null, microphone: null },
  };
}

/** @extends {Emitter<{change: LocalState, problem: import('../client/devices.js').DeviceProblem}>} */
export class LocalMedia extends Emitter {
  state = initialLocal();
  /** @type {LevelMeter | null} */
  #meter = null;
  #open = false;

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener('devicechange', () => this.#list());
  }

  /** Current microphone level, also while muted. */
  get level() {
    return this.#meter?.read() ?? 0;
  }

  /** Opens the devices that were on last time. */
  async start() {
    if (this.#open) return;
    this.#open = true;
    // One after the other: browsers then show one prompt at a time, and a missing device does not block the other.
    if (this.state.microphone.wanted) await this.#start('microphone');
    if (this.state.camera.wanted) await this.#start('camera');
    await this.#list();
  }

  stop() {
    this.#open = false;
    this.unshare();
    this.#release('camera');
    this.#release('microphone');
  }

  /**
   * @param {Input} input
   * @param {boolean} on
   * @param {{remember?: boolean}} [options]
   */
  async set(input, on, { remember = true } = {}) {
    if (remember) save({ [input]: on });
    this.#set({ [input]: { ...this.state[input], wanted: on } });
    if (input === 'microphone' && this.state.microphone.sent) {
      this.state.microphone.sent.enabled = on;
      return;
    }
    if (on) await this.#start(input);
    else if (input === 'camera') this.#release('camera');
  }

  /**
   * Switches a device, also while it is in use.
   * @param {'camera' | 'microphone' | 'speaker'} kind
   * @param {string} id
   */
  async choose(kind, id) {
    const chosen = { ...this.state.chosen, [kind]: id };
    save({ devices: chosen });
    this.#set({ chosen });
    if (kind === 'speaker') return;
    if (this.state[kind].track || this.state[kind].wanted) await this.#start(kind);
  }

  /** @returns {Promise<boolean>} false: the user cancelled */
  async share() {
    try {
      const screen = await devices.openScreen();
      screen.video.addEventListener('ended', () => this.state.screen?.video === screen.video && this.unshare());
      this.#set({ screen });
      return true;
    } catch (error) {
      // Closing the browser's picker is not an error.
      if (!(error instanceof DOMException && error.name === 'NotAllowedError')) {
        this.emit('problem', devices.explain(error, 'screen'));
      }
      return false;
    }
  }

  unshare() {
    const { screen } = this.state;
    if (!screen) return;
    screen.video.stop();
    screen.audio?.stop();
    this.#set({ screen: null });
  }

  /** Stops sharing the screen audio, but not the video. */
  unshareSound() {
    const { screen } = this.state;
    if (!screen?.audio) return;
    screen.audio.stop();
    this.#set({ screen: { ...screen, audio: null } });
  }

  /** @param {Input} input */
  async #start(input) {
    this.#set({ [input]: { ...this.state[input], starting: true } });
    try {
      const open = input === 'camera' ? devices.openCamera : devices.openMicrophone;
      // Some systems cannot open a device twice, so the old one is released first.
      if (input === 'camera') this.#release('camera');
      this.#took(input, await open(this.state.chosen[input]));
    } catch (error) {
      const problem = devices.explain(error, input);
      this.#set({
        [input]: { ...this.state[input], starting: false, wanted: false },
        problems: { ...this.state.problems, [input]: problem },
      });
      this.emit('problem', problem);
    }
    this.#list();
  }

  /**
   * @param {Input} input
   * @param {MediaStreamTrack} track
   */
  #took(input, track) {
    if (!this.#open || (input === 'camera' && !this.state.camera.wanted)) {
      track.stop();
      this.#set({ [input]: { ...this.state[input], starting: false } });
      return;
    }
    this.#release(input);
    track.addEventListener('ended', () => this.#unplugged(input, track));
    if (input === 'microphone') {
      this.#meter = meterOf(track);
      const sent = track.clone();
      sent.enabled = this.state.microphone.wanted;
      this.#set({ microphone: { ...this.state.microphone, starting: false, track, sent } });
    } else {
      track.contentHint = 'motion';
      this.#set({ camera: { ...this.state.camera, starting: false, track } });
    }
    this.#set({ problems: { ...this.state.problems, [input]: null } });
  }

  /** @param {Input} input */
  #release(input) {
    const { track } = this.state[input];
    if (!track) return;
    track.stop();
    if (input === 'microphone') {
      this.#meter?.close();
      this.#meter = null;
      this.state.microphone.sent?.stop();
      this.#set({ microphone: { ...this.state.microphone, track: null, sent: null } });
    } else {
      this.#set({ camera: { ...this.state.camera, track: null } });
    }
  }

  /**
   * @param {Input} input
   * @param {MediaStreamTrack} track
   */
  #unplugged(input, track) {
    if (this.state[input].track !== track) return;
    this.#release(input);
    if (this.state[input].wanted) this.#start(input);
  }

  async #list() {
    this.#set({ devices: await devices.list() });
  }

  /** @param {Partial<LocalState>} change */
  #set(change) {
    this.state = { ...this.state, ...change };
    this.emit('change', this.state);
  }
}

/**
 * Without a meter, the microphone can still be used.
 * @param {MediaStreamTrack} track
 */
function meterOf(track) {
  try {
    return new LevelMeter(track);
  } catch {
    return null;
  }
}
