/**
 * Workaround for lost parts in hls.js. Every few minutes, it treats the first parts of a segment as not loaded although
 * later parts are. At the end of the segment it neither loads them nor continues, until the playlist no longer lists
 * the parts of that segment, and playback freezes for nearly three seconds.
 * @module
 */

/** @typedef {{loaded: boolean, gap: boolean, fragment: {sn: number | string}}} Part used fields of the hls.js type */

/**
 * Parts load in order. A missing part before a loaded one of the same segment was lost or is no longer needed, so it is
 * marked as a gap, which hls.js skips.
 * @param {Part[]} parts in the playlist's order
 */
export function passOver(parts) {
  /** @type {number | string | null} */
  let loaded = null;
  for (let index = parts.length; index--; ) {
    const part = /** @type {Part} */ (parts[index]);
    if (part.loaded) loaded = part.fragment.sn;
    else if (part.fragment.sn === loaded) part.gap = true;
  }
}
