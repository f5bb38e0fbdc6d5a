/**
 * What is sent: the simulcast ladder of a picture and the order of codecs, as pure functions.
 * @module
 */

/** @typedef {import('./types.js').Source} Source */
/** @typedef {import('./types.js').LayerSpec} LayerSpec */
/** @typedef {'vp8' | 'vp9' | 'av1' | 'h264'} VideoCodec */
/** @typedef {{mimeType: string, clockRate: number, channels?: number, sdpFmtpLine?: string}} Codec */

/**
 * One rung: its scale and the bits a second that 1280 × 720 needs at 30 frames a second in VP8.
 * @typedef {{rid: string, scale: number, bitrate: number, fps: number}} Rung
 */

/** @type {Rung[]} */
const CAMERA = [
  { rid: 'q', scale: 4, bitrate: 150_000, fps: 30 },
  { rid: 'h', scale: 2, bitrate: 500_000, fps: 30 },
  { rid: 'f', scale: 1, bitrate: 1_700_000, fps: 30 },
];
/** Text stays readable at half size and few frames; below that a slide is of no use. @type {Rung[]} */
const SCREEN = [
  { rid: 'h', scale: 2, bitrate: 500_000, fps: 10 },
  { rid: 'f', scale: 1, bitrate: 2_500_000, fps: 30 },
];
/**
 * Pixels that libwebrtc wants for so many layers; of a smaller picture it drops the last rids, which are our best ones.
 * @type {Array<[number, number]>}
 */
const AFFORDED = [
  [960 * 540, 3],
  [480 * 270, 2],
  [0, 1],
];
/** Bits grow with pixels, but slower: the exponent is the one that fits common ladders (150k, 500k, 1.7M). */
const GROWTH = 0.75;

/**
 * The encodings of a video track, smallest first.
 * @param {Source} source
 * @param {number} width
 * @param {number} height
 * @param {VideoCodec} codec
 * @param {boolean} [simulcast]
 * @returns {Array<RTCRtpEncodingParameters & {scalabilityMode?: string}>}
 */
export function encodings(source, width, height, codec, simulcast = true) {
  const screen = source === 'screen_share';
  const ladder = screen ? SCREEN : CAMERA;
  const full = (width * height || 1280 * 720) / (screen ? 1920 * 1080 : 1280 * 720);
  const pixels = width * height || Infinity;
  const afforded = AFFORDED.find(([least]) => pixels >= least)?.[1] ?? 1;
  return ladder.slice(simulcast ? -afforded : -1).map(({ rid, scale, bitrate, fps }) => ({
    ...(simulcast ? { rid } : {}),
    active: true,
    scaleResolutionDownBy: scale,
    maxBitrate: Math.round((bitrate * Math.min(4, full ** GROWTH)) / 1000) * 1000,
    maxFramerate: fps,
    ...(scalability(codec) ? { scalabilityMode: scalability(codec) } : {}),
  }));
}

/**
 * VP8 has temporal layers that a server can drop one by one. VP9 and AV1 send all simulcast layers only when the mode
 * says that they are simulcast and not spatial layers of one stream.
 * @param {VideoCodec} codec
 */
function scalability(codec) {
  return { vp8: 'L1T3', vp9: 'L1T1', av1: 'L1T1', h264: '' }[codec];
}

/**
 * What the others are told of the encodings.
 * @param {ReadonlyArray<RTCRtpEncodingParameters>} list
 * @param {number} width
 * @param {number} height
 * @returns {LayerSpec[]}
 */
export function layerSpecs(list, width, height) {
  return list
    .filter(({ rid }) => rid)
    .map(({ rid, scaleResolutionDownBy = 1, maxBitrate = 0, maxFramerate = 0 }) => ({
      rid: rid ?? '',
      width: Math.floor(width / scaleResolutionDownBy),
      height: Math.floor(height / scaleResolutionDownBy),
      fps: maxFramerate,
      bitrate: maxBitrate,
    }));
}

/**
 * The codecs with the wanted ones first; the rest stays in the browser's order, so that there is always one in common.
 * @template {Codec} C
 * @param {ReadonlyArray<C>} available
 * @param {string[]} wanted MIME subtypes, best first
 * @returns {C[]}
 */
export function ordered(available, wanted) {
  const rank = (/** @type {Codec} */ codec) => {
    const index = wanted.indexOf((codec.mimeType.split('/')[1] ?? '').toLowerCase());
    return index < 0 ? wanted.length : index;
  };
  return [...available].sort((a, b) => rank(a) - rank(b));
}
