/**
 * Microphone level, for the meter in the lobby and the hint about speaking while muted.
 * @module
 */

/** Range of speech. Lower levels are background noise, higher ones are shouting. */
const QUIET_DB = -60;
const LOUD_DB = -12;

/**
 * @param {number} rms 0 … 1
 * @returns {number} 0 … 1, perceptually linear
 */
export function loudness(rms) {
  const decibels = 20 * Math.log10(Math.max(rms, 1e-6));
  return Math.min(1, Math.max(0, (decibels - QUIET_DB) / (LOUD_DB - QUIET_DB)));
}

export class LevelMeter {
  #context = new AudioContext();
  #samples = new Float32Array(1024);

  /** @param {MediaStreamTrack} track */
  constructor(track) {
    this.analyser = this.#context.createAnalyser();
    this.analyser.fftSize = 2 * this.#samples.length;
    this.source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.source.connect(this.analyser);
  }

  /** @returns {number} 0 … 1 */
  read() {
    // Suspended until the first user gesture; `interrupted` during a phone call (WebKit).
    if (!['running', 'closed'].includes(this.#context.state)) this.#context.resume().catch(() => {});
    this.analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    return loudness(Math.sqrt(sum / this.#samples.length));
  }

  close() {
    this.source.disconnect();
    this.#context.close().catch(() => {});
  }
}
