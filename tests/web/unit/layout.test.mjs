import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bestColumns, capacity, duet, grid, MOST, pictureSize, speaker, withSpeakersFirst } from '../../../web/views/layout.js';

const WIDE = { width: 1280, height: 720 };
const PHONE = { width: 360, height: 640 };

for (const [count, stage, columns] of [
  [1, WIDE, 1],
  [2, WIDE, 2],
  [4, WIDE, 2],
  [5, WIDE, 3],
  [9, WIDE, 3],
  [12, WIDE, 4],
  [25, WIDE, 5],
  [2, PHONE, 1],
  [4, PHONE, 2],
  [6, PHONE, 2],
  [3, { width: 2400, height: 400 }, 3],
]) {
  test(`${count} tiles on ${stage.width}×${stage.height} use ${columns} columns`, () =>
    assert.equal(bestColumns(count, stage), columns));
}

/** @param {{x: number, y: number, width: number, height: number}} a */
const apart = (a, b) => a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;

function assertFits(rects, stage) {
  for (const [index, rect] of rects.entries()) {
    assert.ok(rect.width > 0 && rect.height > 0, `tile ${index} has a size`);
    assert.ok(rect.x >= 0 && rect.y >= 0, `tile ${index} begins inside`);
    assert.ok(rect.x + rect.width <= stage.width + 1 && rect.y + rect.height <= stage.height + 1, `tile ${index} ends inside`);
    for (const other of rects.slice(index + 1)) assert.ok(apart(rect, other), `tile ${index} overlaps another`);
  }
}

const STAGES = [WIDE, PHONE, { width: 304, height: 480 }, { width: 820, height: 1100 }, { width: 820, height: 300 }, { width: 2560, height: 1300 }];

for (const stage of STAGES) {
  test(`no tile overlaps or leaves a stage of ${stage.width}×${stage.height}`, () => {
    for (let count = 1; count <= capacity(stage); count++) assertFits(grid(count, stage), stage);
    for (let count = 1; count <= 30; count++) {
      for (const screen of [false, true]) {
        const { rects, shown } = speaker(count, stage, { screen });
        assert.equal(rects.length, shown);
        assert.ok(shown <= count);
        assertFits(rects, stage);
      }
    }
  });
}

test('an incomplete last row is centered', () => {
  const [a, , , d] = grid(5, WIDE);
  assert.ok(d.x > a.x);
  const last = grid(5, WIDE).slice(3);
  assert.ok(Math.abs(last[0].x - (WIDE.width - last[1].x - last[1].width)) <= 1);
});

test('equal tiles keep camera aspect ratios', () => {
  for (const stage of STAGES) {
    for (let count = 2; count <= 25; count++) {
      const { width, height } = grid(count, stage)[0];
      assert.ok(width / height < 16 / 9 + 0.05 && width / height > 0.65, `${count} on ${stage.width}×${stage.height}`);
    }
  }
});

test('a page has a maximum number of tiles, fewer on a small screen', () => {
  assert.equal(capacity({ width: 4000, height: 2000 }), MOST);
  assert.equal(capacity({ width: 304, height: 480 }), 4);
  assert.equal(capacity({ width: 0, height: 0 }), 2);
});

test('a single tile fills a phone', () => {
  const [{ width, height }] = grid(1, PHONE);
  assert.deepEqual({ width, height }, PHONE);
});

test('below a screen on a tall stage there is room for several rows of people', () => {
  const { rects, shown } = speaker(6, { width: 360, height: 640 }, { screen: true });
  assert.ok(shown >= 4, `${shown} shown`);
  assert.ok(rects[0].height < 320);
});

for (const [tile, aspect, whole, expected] of [
  [{ width: 640, height: 480 }, 16 / 9, false, [853, 480]],
  [{ width: 640, height: 480 }, 16 / 9, true, [640, 360]],
  [{ width: 1280, height: 480 }, 16 / 9, false, [1280, 720]],
  [{ width: 1280, height: 480 }, 16 / 9, true, [853, 480]],
  [{ width: 300, height: 600 }, 0.5, false, [300, 600]],
]) {
  test(`a picture of ${aspect.toFixed(2)} ${whole ? 'inside' : 'covering'} ${tile.width}×${tile.height} measures ${expected}`, () => {
    const { width, height } = pictureSize(tile, aspect, whole);
    assert.deepEqual([Math.round(width), Math.round(height)], expected);
  });
}

test('an empty stage has no tiles', () => {
  assert.deepEqual(grid(0, WIDE), []);
  assert.deepEqual(speaker(0, WIDE), { rects: [], shown: 0 });
});

test('two people on a phone: one fills the stage, the own video floats', () => {
  const [own, other] = duet(PHONE);
  assert.deepEqual(other, { x: 0, y: 0, ...PHONE });
  assert.ok(own.x > 0 && own.x + own.width < PHONE.width && own.y + own.height < PHONE.height);
});

for (const [name, keys, size, spoke, expected] of [
  ['no tile moves during silence', ['me', 'a', 'b', 'c'], 2, {}, ['me', 'a', 'b', 'c']],
  ['who speaks on the first page stays', ['me', 'a', 'b', 'c'], 2, { a: 5 }, ['me', 'a', 'b', 'c']],
  ['a late speaker takes the place of a silent one', ['me', 'a', 'b', 'c'], 3, { a: 5, c: 6 }, ['me', 'a', 'c', 'b']],
  ['of those who spoke, who spoke longest ago goes', ['me', 'a', 'b', 'c'], 3, { a: 5, b: 3, c: 6 }, ['me', 'a', 'c', 'b']],
  ['one who spoke before all on the page stays away', ['me', 'a', 'b', 'c'], 3, { a: 5, b: 6, c: 4 }, ['me', 'a', 'b', 'c']],
  ['oneself never moves', ['me', 'a'], 1, { a: 9 }, ['me', 'a']],
]) {
  test(name, () => assert.deepEqual(withSpeakersFirst(keys, size, new Map(Object.entries(spoke))), expected));
}
