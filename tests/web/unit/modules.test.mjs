import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const WEB = join(dirname(fileURLToPath(import.meta.url)), '../../../web');
const IMPORT = /(?:^|[;}\s])(?:import|export)\s*(?:[\w${},*\s]*?from)?\s*["'](\.[^"']+)["']/gm;

/** Every module that the page needs, found by following its imports. */
function reachable(path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  for (const [, target] of readFileSync(join(WEB, path), 'utf8').matchAll(IMPORT)) reachable(normalize(join(dirname(path), target)), found);
  return found;
}

const index = readFileSync(join(WEB, 'index.html'), 'utf8');

test('the page preloads all of its modules', () => {
  const announced = [...index.matchAll(/rel="modulepreload" href="\/static\/([^"]+)"/g)].map(([, path]) => path);
  const needed = [...reachable('page/main.js')].filter((path) => path !== 'page/main.js');
  assert.deepEqual(announced.sort(), needed.sort());
});

test('nothing is inline, as the content security policy requires', () => {
  assert.doesNotMatch(index, /<script(?![^>]*src=)|\sstyle=|\son\w+=/);
  for (const name of readdirSync(join(WEB, 'views'))) {
    assert.doesNotMatch(readFileSync(join(WEB, 'views', name), 'utf8'), /\sstyle=["$]/, name);
  }
});

test('the SDK does not import the page', () => {
  for (const name of readdirSync(join(WEB, 'client')).filter((file) => file.endsWith('.js'))) {
    const source = readFileSync(join(WEB, 'client', name), 'utf8');
    assert.doesNotMatch(source, /\bdocument\.|\bwindow\.|localStorage|from '\.\.\//, name);
  }
});

test('all files that the page loads exist', () => {
  for (const [, path] of index.matchAll(/(?:href|src)="\/static\/([^"]+)"/g)) assert.ok(readFileSync(join(WEB, path)).length, path);
});
