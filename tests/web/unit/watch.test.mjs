import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cues, uris } from '../../../web/watch/captions.js';

const WEB = join(dirname(fileURLToPath(import.meta.url)), '../../../web');
const IMPORT = /(?:^|[;}\s])(?:import|export)\s*(?:[\w${},*\s]*?from)?\s*["'](\.[^"']+)["']/gm;
const page = readFileSync(join(WEB, 'watch.html'), 'utf8');

/** Every module that the page needs, found by following its imports. */
function reachable(path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  // Minified and without imports of its own.
  if (path.startsWith('vendor/hls')) return found;
  for (const [, target] of readFileSync(join(WEB, path), 'utf8').matchAll(IMPORT)) reachable(normalize(join(dirname(path), target)), found);
  return found;
}

test('the page preloads all of its modules, and none of the meeting', () => {
  const announced = [...page.matchAll(/rel="modulepreload" href="\/static\/([^"]+)"/g)].map(([, path]) => path);
  const needed = [...reachable('watch/main.js')].filter((path) => path !== 'watch/main.js');
  assert.deepEqual(announced.sort(), needed.sort());
  assert.ok(!needed.some((path) => path.startsWith('client/')));
});

test('nothing is inline, as the content security policy requires', () => {
  assert.doesNotMatch(page, /<script(?![^>]*src=)|\sstyle=|\son\w+=/);
  for (const name of readdirSync(join(WEB, 'watch'))) assert.doesNotMatch(readFileSync(join(WEB, 'watch', name), 'utf8'), /\sstyle=["$]/, name);
});

test('all files that the page loads exist', () => {
  for (const [, path] of page.matchAll(/(?:href|src)="\/static\/([^"]+)"/g)) assert.ok(readFileSync(join(WEB, path)).length, path);
});

test('cues use wall-clock time', () => {
  const text = `WEBVTT
X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000

NOTE zero 2023-11-14T22:13:20.250+00:00

00:00:02.500 --> 00:00:04.000
Hello &amp; welcome

01:00:00.000 --> 01:00:01.000
two
lines
`;
  const zero = Date.UTC(2023, 10, 14, 22, 13, 20, 250) / 1000;
  assert.deepEqual(cues(text), [
    { start: zero + 2.5, end: zero + 4, text: 'Hello &amp; welcome' },
    { start: zero + 3600, end: zero + 3601, text: 'two\nlines' },
  ]);
  assert.deepEqual(cues('WEBVTT\n\n00:00:02.500 --> 00:00:04.000\nno clock\n'), []);
});

test('the URIs of a playlist', () => {
  assert.deepEqual(uris('#EXTM3U\n#EXTINF:1,\ncaptions-en/1.vtt\n#EXT-X-ENDLIST\n'), ['captions-en/1.vtt']);
});
