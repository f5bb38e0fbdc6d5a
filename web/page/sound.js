/**
 * Plays the others' sound: one audio element for each received audio track, all on the chosen speaker.
 * @module
 */

export class Sound {
  /** @type {Map<MediaStreamTrack, HTMLAudioElement>} */
  #elements = new Map();
  #speaker = '';

  /** @param {(blocked: boolean) => void} blocked told whether the browser holds the sound back until a gesture */
  constructor(blocked) {
    this.blocked = blocked;
  }

  /** @param {ReadonlyMap<string, MediaStreamTrack>} media */
  play(media) {
    const tracks = new Set([...media.values()].filter(({ kind }) => kind === 'audio'));
    for (const [track, element] of this.#elements) {
      if (tracks.has(track)) continue;
      element.srcObject = null;
      this.#elements.delete(track);
    }
    for (const track of tracks) {
      if (this.#elements.has(track)) continue;
      const element = new Audio();
      element.srcObject = new MediaStream([track]);
      this.#elements.set(track, element);
      this.#direct(element);
      this.#start(element);
    }
  }

  /** After a gesture of the person. */
  resume() {
    this.blocked(false);
    for (const element of this.#elements.values()) if (element.paused) this.#start(element);
  }

  /** @param {string} deviceId */
  speaker(deviceId) {
    if (deviceId === this.#speaker) return;
    this.#speaker = deviceId;
    for (const element of this.#elements.values()) this.#direct(element);
  }

  /** @param {HTMLAudioElement} element */
  #direct(element) {
    if (this.#speaker && 'setSinkId' in element) element.setSinkId(this.#speaker).catch(() => {});
  }

  /** @param {HTMLAudioElement} element */
  #start(element) {
    element.play().catch((error) => error.name === 'NotAllowedError' && this.blocked(true));
  }
}
