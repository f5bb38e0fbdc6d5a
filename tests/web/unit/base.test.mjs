import assert from 'node:assert/strict';
import { test } from 'node:test';

import { roomIn } from '../../../web/page/base.js';

const ROOT = new URL('https://example.org/');
const BELOW = new URL('https://example.org/deep/meet/');

for (const [pathname, from, expected] of [
  ['/', ROOT, ''],
  ['/r/hall', ROOT, 'hall'],
  ['/r/hall/', ROOT, 'hall'],
  ['/r/t%C3%A4glich', ROOT, 'täglich'],
  ['/r/a%2Fb', ROOT, 'a/b'],
  ['/r/%25ff', ROOT, '%ff'],
  ['/r/%ff', ROOT, null],
  ['/r/%E0%A4', ROOT, null],
  ['/r/%', ROOT, null],
  ['/r/', ROOT, ''],
  ['/r/a/b', ROOT, ''],
  ['/watch/hall', ROOT, ''],
  ['/deep/meet/', BELOW, ''],
  ['/deep/meet/r/hall', BELOW, 'hall'],
  ['/deep/meet/r/%ff', BELOW, null],
  ['/r/hall', BELOW, ''],
]) {
  test(`the room in ${pathname} below ${from.pathname}`, () => assert.equal(roomIn('r', pathname, from), expected));
}

test('the room of a watch page', () => {
  assert.equal(roomIn('watch', '/watch/hall', ROOT), 'hall');
  assert.equal(roomIn('watch', '/watch/%ff', ROOT), null);
  assert.equal(roomIn('watch', '/r/hall', ROOT), '');
});
