/**
 * Parts that hls.js forgot. Now and then, mostly once in some minutes, it takes the first parts of a segment for not loaded
 * although later ones of it are. At the segment's end it then neither loads them again nor goes on, until the playlist lists
 * no parts of that segment any more, and the picture stands still for nearly three seconds.
 * @module
 */

/** @typedef {{loaded: boolean, gap: boolean, fragment: {sn: number | string}}} Part what is used of hls.js's */

/**
 * Parts are loaded one after the other: what is missing before a loaded one of the same segment was forgotten or will not be
 * wanted, and counts as a gap, which hls.js passes over.
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
