import assert from 'node:assert/strict';
import { test } from 'node:test';
import { initial, reduce } from '../../../web/client/state.js';
import { ingestLabel, mainOf, orderOf, stageOf, tilesOf } from '../../../web/page/tiles.js';

const person = (id, ...sources) => ({
  id,
  identity: id,
  tracks: sources.map((source) => ({ id: `${id}-${source}`, kind: source === 'microphone' ? 'audio' : 'video', source })),
});

function page(others, more = {}) {
  const room = reduce(initial, {
    type: 'joined',
    participant: { id: 'me', identity: 'me' },
    permissions: { publish: true, subscribe: true, data: true, admin: false, sources: [] },
    room: { name: 'r', id: 'R' },
    participants: others,
  });
  const local = { microphone: { wanted: true }, camera: { track: null }, screen: null };
  return { room, local, media: new Map(), layout: 'grid', pinned: '', pageIndex: 0, order: [], stage: { width: 1280, height: 720 }, ...more };
}

const shown = (stage) => stage.placed.map(({ tile }) => tile.key);

test('a screen is a tile of its own, before its owner', () => {
  const keys = tilesOf(page([person('a', 'microphone', 'camera', 'screen_share')])).map(({ key }) => key);
  assert.deepEqual(keys, ['me', 'a-screen_share:screen', 'a']);
});

test('a participant without a microphone counts as muted', () => {
  assert.deepEqual(tilesOf(page([person('a'), person('b', 'microphone')])).map(({ muted }) => muted), [false, true, false]);
});

for (const [reason, media, paused] of [['last_n', null, 'last_n'], ['congestion', 'picture', 'congestion'], ['requested', 'picture', '']]) {
  test(`a video paused for ${reason}`, () => {
    const state = page([person('a', 'camera')], { media: new Map([['a-camera', 'picture']]) });
    state.room = reduce(state.room, { type: 'subscription', n: 1, track: 'a-camera', paused: true, reason });
    const tile = tilesOf(state).find(({ key }) => key === 'a');
    assert.deepEqual([tile.media, tile.paused], [media, paused]);
  });
}

for (const [name, others, more, spoke, expected] of [
  ['in the grid no tile is large', [person('a')], {}, 'a', null],
  ['a shared screen is', [person('a', 'screen_share'), person('b')], {}, 'b', 'a-screen_share:screen'],
  ['the newest of two screens', [person('a', 'screen_share'), person('b', 'screen_share')], {}, '', 'b-screen_share:screen'],
  ['a pin beats a screen', [person('a', 'screen_share'), person('b')], { pinned: 'b' }, '', 'b'],
  ['in the speaker layout who spoke last is', [person('a'), person('b')], { layout: 'speaker' }, 'b', 'b'],
  ['before anybody spoke, the first of the others', [person('a'), person('b')], { layout: 'speaker' }, '', 'a'],
  ['alone no tile is', [], { layout: 'speaker' }, '', null],
]) {
  test(name, () => {
    const state = page(others, more);
    assert.equal(mainOf(state, tilesOf(state), spoke)?.key ?? null, expected);
  });
}

test('more people than fit are split into pages', () => {
  const others = Array.from({ length: 30 }, (_, index) => person(`p${index}`));
  const first = stageOf(page(others), '');
  assert.equal(first.placed.length, 25);
  assert.equal(first.pages, 2);
  assert.equal(stageOf(page(others, { pageIndex: 1 }), '').placed.length, 6);
  assert.equal(stageOf(page(others, { pageIndex: 9 }), '').page, 1);
});

test('two people on a phone: the own video floats', () => {
  const { placed } = stageOf(page([person('a')], { stage: { width: 360, height: 600 } }), '');
  assert.deepEqual(placed.map(({ tile, floating }) => [tile.key, floating]), [['me', true], ['a', false]]);
});

test('places are kept when people leave and join', () => {
  const tiles = tilesOf(page([person('b'), person('c')]));
  assert.deepEqual(orderOf(['me', 'a', 'b'], tiles, new Map(), 25), ['me', 'b', 'c']);
  assert.deepEqual(shown(stageOf(page([person('b'), person('c')], { order: ['me', 'c', 'b'] }), '')), ['me', 'c', 'b']);
});

test('cameras and encoders have their own labels', () => {
  assert.equal(ingestLabel({ ingest: 'live', ingest_protocol: 'rtsp' }), 'Camera');
  assert.equal(ingestLabel({ ingest: 'waiting', ingest_protocol: 'rtsp' }), 'Camera disconnected');
  assert.equal(ingestLabel({ ingest: 'live', ingest_protocol: 'rtmp' }), 'Encoder');
  assert.equal(ingestLabel({}), 'Encoder');
});
