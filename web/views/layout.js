/**
 * Tile layout, arithmetic only. Sizes in CSS pixels, positions relative to the stage.
 * @module
 */

/** @typedef {{width: number, height: number}} Size */
/** @typedef {{x: number, y: number, width: number, height: number}} Rect */
/**
 * @typedef {object} Arrangement
 * @property {Rect[]} rects of the tiles shown, in their order
 * @property {number} shown how many tiles fit; the others are on further pages
 */

export const MOST = 25;
const GAP = 10;
const SMALLEST = { width: 150, height: 112 };
const SCREEN_ASPECT = 1.5;
const STRIP = { wide: 220, narrow: 104, aspect: 16 / 9 };

/** Allowed aspect ratios of a tile. Video may be cropped slightly to fill the stage. @param {Size} stage */
const aspects = (stage) => (stage.width >= stage.height ? { slim: 4 / 3, wide: 16 / 9 } : { slim: 2 / 3, wide: 16 / 9 });

/**
 * The size of each of `count` equal tiles in `columns` columns.
 * @param {number} count
 * @param {number} columns
 * @param {Size} stage
 * @returns {Size}
 */
function cell(count, columns, stage) {
  const rows = Math.ceil(count / columns);
  let width = (stage.width - GAP * (columns - 1)) / columns;
  let height = (stage.height - GAP * (rows - 1)) / rows;
  const { slim, wide } = count === 1 ? { slim: 9 / 20, wide: 2 } : aspects(stage);
  if (width / height > wide) width = height * wide;
  else if (width / height < slim) height = width / slim;
  return { width: Math.max(0, width), height: Math.max(0, height) };
}

/**
 * Number of columns that makes `count` tiles largest.
 * @param {number} count
 * @param {Size} stage
 */
export function bestColumns(count, stage) {
  let best = { columns: 1, area: -1 };
  for (let columns = 1; columns <= count; columns++) {
    const { width, height } = cell(count, columns, stage);
    // Add a column only for a larger area; with equal areas, the taller layout stays.
    if (width * height > best.area * 1.001) best = { columns, area: width * height };
  }
  return best.columns;
}

/**
 * Number of tiles of a reasonable size on one page.
 * @param {Size} stage
 */
export function capacity(stage) {
  const columns = Math.max(1, Math.floor((stage.width + GAP) / (SMALLEST.width + GAP)));
  const rows = Math.max(1, Math.floor((stage.height + GAP) / (SMALLEST.height + GAP)));
  return Math.min(MOST, Math.max(2, columns * rows));
}

/**
 * Equal tiles, as large as possible; an incomplete last row is centered.
 * @param {number} count
 * @param {Size} stage
 * @returns {Rect[]}
 */
export function grid(count, stage) {
  if (!count) return [];
  const columns = bestColumns(count, stage);
  const rows = Math.ceil(count / columns);
  const { width, height } = cell(count, columns, stage);
  const top = (stage.height - rows * height - GAP * (rows - 1)) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = row < rows - 1 ? columns : count - row * columns;
    const left = (stage.width - inRow * width - GAP * (inRow - 1)) / 2;
    return rounded({ x: left + (index - row * columns) * (width + GAP), y: top + row * (height + GAP), width, height });
  });
}

/**
 * One large tile and a strip of small ones: beside it on a wide stage, below it on a tall one.
 * @param {number} count tiles including the main one
 * @param {Size} stage
 * @param {{screen?: boolean}} [options] a screen keeps its aspect ratio and uses all the space; a camera is cropped to fill
 * @returns {Arrangement}
 */
export function speaker(count, stage, { screen = false } = {}) {
  if (count <= 1) return { rects: count ? [{ x: 0, y: 0, ...stage }] : [], shown: count };
  const beside = stage.width > stage.height * 1.15;
  if (screen && !beside) return presentation(count, stage);
  const small = stage.width < 720 || stage.height < 480;
  const strip = beside ? (small ? 128 : screen ? 200 : STRIP.wide) : small ? STRIP.narrow * STRIP.aspect * 0.8 : STRIP.wide;
  const tile = { width: strip, height: strip / STRIP.aspect };
  const along = beside ? stage.height : stage.width;
  const step = (beside ? tile.height : tile.width) + GAP;
  const fits = Math.max(1, Math.floor((along + GAP) / step));
  const others = Math.min(count - 1, fits);
  const start = (along - others * step + GAP) / 2;
  /** @type {Rect} */
  const main = beside
    ? { x: 0, y: 0, width: stage.width - tile.width - GAP, height: stage.height }
    : { x: 0, y: 0, width: stage.width, height: stage.height - tile.height - GAP };
  const rects = Array.from({ length: others }, (_, index) =>
    rounded(
      beside
        ? { x: main.width + GAP, y: start + index * step, ...tile }
        : { x: start + index * step, y: main.height + GAP, ...tile },
    ),
  );
  return { rects: [rounded(main), ...rects], shown: others + 1 };
}

/**
 * On a tall stage, a screen keeps its aspect ratio at the top, with several rows of people below.
 * @param {number} count
 * @param {Size} stage
 * @returns {Arrangement}
 */
function presentation(count, stage) {
  const height = Math.min(stage.height * 0.6, stage.width / SCREEN_ASPECT);
  const below = { width: stage.width, height: stage.height - height - GAP };
  const others = Math.min(count - 1, capacity(below));
  const rects = grid(others, below).map((rect) => ({ ...rect, y: rect.y + Math.ceil(height) + GAP }));
  return { rects: [rounded({ x: 0, y: 0, width: stage.width, height }), ...rects], shown: others + 1 };
}

/**
 * Two people on a phone: the other fills the stage, the own video floats in the corner.
 * @param {Size} stage
 * @returns {Rect[]} own tile first
 */
export function duet(stage) {
  const width = Math.min(140, stage.width * 0.3);
  const height = stage.width < stage.height ? width * (4 / 3) : width * (9 / 16);
  return [
    rounded({ x: stage.width - width - 12, y: stage.height - height - 12, width, height }),
    rounded({ x: 0, y: 0, ...stage }),
  ];
}

/**
 * Rendered size of the uncropped video: a camera covers the tile and is cropped, a screen fits inside.
 * @param {Size} tile
 * @param {number} aspect width by height of the video
 * @param {boolean} whole no cropping
 * @returns {Size}
 */
export function pictureSize(tile, aspect, whole) {
  const wider = tile.width / tile.height > aspect;
  return wider === whole ? { width: tile.height * aspect, height: tile.height } : { width: tile.width, height: tile.width / aspect };
}

/** Rounds to whole pixels for sharp edges. @param {Rect} rect @returns {Rect} */
const rounded = ({ x, y, width, height }) => ({
  x: Math.round(x),
  y: Math.round(y),
  width: Math.floor(width),
  height: Math.floor(height),
});

/**
 * Moves speakers to the first page, in place of the participants that have been silent longest. All others keep their
 * places.
 * @param {ReadonlyArray<string>} keys in order of joining
 * @param {number} size of the first page
 * @param {ReadonlyMap<string, number>} spoke time when each last spoke
 * @param {number} fixed number of leading tiles that never move
 * @returns {string[]}
 */
export function withSpeakersFirst(keys, size, spoke, fixed = 1) {
  const order = [...keys];
  const late = order
    .slice(size)
    .filter((key) => spoke.has(key))
    .sort((a, b) => (spoke.get(b) ?? 0) - (spoke.get(a) ?? 0));
  for (const key of late) {
    let silent = -1;
    for (let index = fixed; index < size; index++) {
      const when = spoke.get(order[index] ?? '') ?? 0;
      if (when < (spoke.get(key) ?? 0) && (silent < 0 || when <= (spoke.get(order[silent] ?? '') ?? 0))) silent = index;
    }
    if (silent < 0) break;
    const at = order.indexOf(key);
    [order[at], order[silent]] = [/** @type {string} */ (order[silent]), key];
  }
  return order;
}
