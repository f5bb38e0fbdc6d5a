/**
 * Captions of a live stream: reads the track's playlist and WebVTT segments and adds cues to the video. The light build
 * of hls.js does not support them.
 * @module
 */

const POLL_MS = 1000;
const KEPT = 400;

/** @typedef {{start: number, end: number, text: string}} Cue seconds since 1970 */

/**
 * The URIs of a media playlist.
 * @param {string} text
 */
export const uris = (text) => text.split('\n').filter((line) => line && !line.startsWith('#'));

/**
 * @param {string} text WebVTT with the wall-clock time of its time 0 in the header
 * @returns {Cue[]}
 */
export function cues(text) {
  const zero = Date.parse(/^NOTE zero (\S+)$/m.exec(text)?.[1] ?? '') / 1000;
  if (Number.isNaN(zero)) return [];
  /** @type {Cue[]} */
  const found = [];
  for (const block of text.split(/\n{2,}/)) {
    const [, start, end, words] = /(?:^|\n)([\d:.]+) --> ([\d:.]+)[^\n]*\n([\s\S]+)$/.exec(block.trimEnd()) ?? [];
    if (start && end && words) found.push({ start: zero + seconds(start), end: zero + seconds(end), text: words });
  }
  return found;
}

/** @param {string} clock hours:minutes:seconds */
const seconds = (clock) => clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);

export class CaptionLoader {
  #url = '';
  #timer = 0;
  /** @type {Set<string>} */
  #seen = new Set();
  /** @type {TextTrack | null} */
  #track = null;

  /**
   * @param {HTMLVideoElement} video
   * @param {() => number | null} shownAt capture time of the displayed frame, milliseconds since 1970
   */
  constructor(video, shownAt) {
    this.video = video;
    this.shownAt = shownAt;
  }

  /** @param {string} url of the track's playlist; empty: no captions */
  show(url) {
    clearInterval(this.#timer);
    this.#url = url;
    this.#seen.clear();
    if (this.#track) {
      for (const cue of [...(this.#track.cues ?? [])]) this.#track.removeCue(cue);
      this.#track.mode = 'disabled';
    }
    if (!url) return;
    this.#track ??= this.video.addTextTrack('captions');
    this.#track.mode = 'showing';
    this.#timer = window.setInterval(() => void this.#poll(), POLL_MS);
    void this.#poll();
  }

  async #poll() {
    const url = this.#url;
    const at = this.shownAt();
    if (at === null) return;
    try {
      const list = uris(await (await fetch(url)).text());
      for (const uri of list.slice(-KEPT)) {
        if (this.#seen.has(uri)) continue;
        this.#seen.add(uri);
        const response = await fetch(new URL(uri, new URL(url, location.href)));
        if (response.ok && url === this.#url) this.#add(cues(await response.text()));
      }
    } catch {
      // Retried by the next poll in a second.
    }
  }

  /** @param {Cue[]} found */
  #add(found) {
    const at = this.shownAt();
    if (at === null || !this.#track) return;
    const shift = this.video.currentTime - at / 1000;
    for (const { start, end, text } of found) {
      const key = `${start.toFixed(3)} ${text}`;
      if (this.#seen.has(key)) continue;
      this.#seen.add(key);
      if (end + shift > 0) this.#track.addCue(new VTTCue(Math.max(0, start + shift), end + shift, text));
    }
  }
}
