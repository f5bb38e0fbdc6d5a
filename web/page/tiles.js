/**
 * Derives the tiles from the state: which tiles to show, their order and their size. Pure.
 * @module
 */

import { capacity, duet, grid, speaker, withSpeakersFirst } from '../views/layout.js';

/** @typedef {import('./types.js').PageState} PageState */
/** @typedef {import('../client/types.js').Participant} Participant */
/** @typedef {import('../client/types.js').Track} Track */
/** @typedef {import('../views/layout.js').Rect} Rect */

/**
 * @typedef {object} Tile
 * @property {string} key
 * @property {Participant} participant
 * @property {boolean} me
 * @property {'camera' | 'screen'} kind
 * @property {string} trackId
 * @property {MediaStreamTrack | null} media
 * @property {number} aspect ratio of the video, width by height
 * @property {boolean} muted the microphone
 * @property {string} paused reason why the server pauses the video
 */
/** @typedef {{tile: Tile, rect: Rect, main: boolean, floating: boolean}} Placed */
/** @typedef {{placed: Placed[], pages: number, page: number, speaker: boolean}} Stage */

/**
 * @param {PageState} state
 * @returns {Tile[]} own tiles first, then the others in order of joining; a screen precedes its owner's camera
 */
export function tilesOf(state) {
  const { me, participants } = state.room;
  return (me ? [me, ...participants.values()] : []).flatMap((participant) => tilesOfOne(state, participant));
}

/**
 * @param {PageState} state
 * @param {Participant} participant
 * @returns {Tile[]}
 */
function tilesOfOne(state, participant) {
  const me = participant.id === state.room.me?.id;
  const find = (/** @type {string} */ source) => participant.tracks.find((track) => track.source === source);
  const microphone = participant.tracks.find(({ kind, source }) => kind === 'audio' && source !== 'screen_share_audio');
  const camera = find('camera') ?? participant.tracks.find(({ kind, source }) => kind === 'video' && source === 'unknown');
  const muted = me ? !state.local.microphone.wanted : !microphone || microphone.muted;
  /** @param {Track | undefined} track */
  const received = (track) => (track && !track.muted && state.media.get(track.id)) || null;
  /** @type {Tile[]} */
  const tiles = [];
  const screens = participant.tracks.filter(({ source }) => source === 'screen_share');
  for (const track of screens) {
    const media = me ? (state.local.screen?.video ?? null) : received(track);
    tiles.push({ key: `${track.id}:screen`, participant, me, kind: 'screen', trackId: track.id, media, aspect: aspect(track), muted, paused: paused(state, track) });
  }
  const why = camera && !camera.muted ? paused(state, camera) : '';
  // A participant outside the last-N selection is shown as an avatar, not as a frozen frame.
  const media = me ? state.local.camera.track : why === 'last_n' ? null : received(camera);
  tiles.push({
    key: participant.id,
    participant,
    me,
    kind: 'camera',
    trackId: camera?.id ?? '',
    media,
    aspect: aspect(camera),
    muted,
    paused: why,
  });
  return tiles;
}

/** @param {Track | undefined} track */
const aspect = (track) => (track?.width && track.height ? track.width / track.height : 16 / 9);

/**
 * @param {PageState} state
 * @param {Track} track
 */
function paused(state, track) {
  const subscription = state.room.subscriptions.get(track.id);
  return subscription?.paused && !['requested', 'muted'].includes(subscription.reason) ? subscription.reason : '';
}

/**
 * The main tile: the pinned one, a shared screen, or, in the speaker layout, the speaker.
 * @param {PageState} state
 * @param {ReadonlyArray<Tile>} tiles
 * @param {string} spoke the last speaker other than the local participant
 * @returns {Tile | null}
 */
export function mainOf(state, tiles, spoke) {
  const pinned = tiles.find(({ key }) => key === state.pinned);
  if (pinned) return pinned;
  const screen = tiles.findLast(({ kind, me }) => kind === 'screen' && !me);
  if (screen) return screen;
  if (state.layout !== 'speaker' || tiles.length < 2) return null;
  return tiles.find(({ key }) => key === spoke) ?? tiles.find(({ me, kind }) => !me && kind === 'camera') ?? null;
}

/**
 * @param {ReadonlyArray<string>} order the current order
 * @param {ReadonlyArray<Tile>} tiles
 * @param {ReadonlyMap<string, number>} spoke
 * @param {number} size of the first page
 */
export function orderOf(order, tiles, spoke, size) {
  const keys = new Set(tiles.map(({ key }) => key));
  const kept = order.filter((key) => keys.has(key));
  const fresh = [...keys].filter((key) => !kept.includes(key));
  return withSpeakersFirst([...kept, ...fresh], size, spoke);
}

/**
 * @param {PageState} state
 * @param {string} spoke
 * @returns {Stage}
 */
export function stageOf(state, spoke) {
  const tiles = tilesOf(state);
  const byKey = new Map(tiles.map((tile) => [tile.key, tile]));
  const ordered = [...new Set([...state.order, ...byKey.keys()])].flatMap((key) => byKey.get(key) ?? []);
  const main = mainOf(state, ordered, spoke);
  const place = (/** @type {Tile[]} */ list, /** @type {Rect[]} */ rects, /** @type {Tile | null} */ big) =>
    rects.map((rect, index) => ({ tile: /** @type {Tile} */ (list[index]), rect, main: list[index] === big, floating: false }));
  if (main) {
    const others = ordered.filter((tile) => tile !== main);
    const { shown } = speaker(ordered.length, state.stage, { screen: main.kind === 'screen' });
    const size = Math.max(1, shown - 1);
    const { part, pages, page } = slice(others, size, state.pageIndex);
    const { rects } = speaker(part.length + 1, state.stage, { screen: main.kind === 'screen' });
    return { placed: place([main, ...part], rects, main), pages, page, speaker: true };
  }
  const phone = state.stage.width < 600 || state.stage.height < 420;
  if (phone && ordered.length === 2 && ordered[0]?.me) {
    const placed = place(ordered, duet(state.stage), null);
    return { placed: placed.map((one) => ({ ...one, floating: one.tile.me })), pages: 1, page: 0, speaker: false };
  }
  const { part, pages, page } = slice(ordered, capacity(state.stage), state.pageIndex);
  return { placed: place(part, grid(part.length, state.stage), null), pages, page, speaker: false };
}

/**
 * @template T
 * @param {T[]} list
 * @param {number} size
 * @param {number} index
 */
function slice(list, size, index) {
  const pages = Math.max(1, Math.ceil(list.length / size));
  const page = Math.min(Math.max(0, index), pages - 1);
  return { part: list.slice(page * size, page * size + size), pages, page };
}

/**
 * What a participant of kind `ingress` is, and whether it is connected.
 * @param {Readonly<Record<string, string>>} attributes of the participant
 */
export function ingestLabel(attributes) {
  const source = attributes['ingest_protocol'] === 'rtsp' ? 'Camera' : 'Encoder';
  return attributes['ingest'] === 'waiting' ? `${source} disconnected` : source;
}
