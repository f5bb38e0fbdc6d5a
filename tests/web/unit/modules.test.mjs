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

test('the page announces all of its modules, so that the browser fetches them side by side', () => {
  const announced = [...index.matchAll(/rel="modulepreload" href="\/static\/([^"]+)"/g)].map(([, path]) => path);
  const needed = [...reachable('page/main.js')].filter((path) => path !== 'page/main.js');
  assert.deepEqual(announced.sort(), needed.sort());
});

test('nothing inline: the content-security policy would forbid it', () => {
  assert.doesNotMatch(index, /<script(?![^>]*src=)|\sstyle=|\son\w+=/);
  for (const name of readdirSync(join(WEB, 'views'))) {
    assert.doesNotMatch(readFileSync(join(WEB, 'views', name), 'utf8'), /\sstyle=["$]/, name);
  }
});

test('the SDK knows nothing of the page', () => {
  for (const name of readdirSync(join(WEB, 'client')).filter((file) => file.endsWith('.js'))) {
    const source = readFileSync(join(WEB, 'client', name), 'utf8');
    assert.doesNotMatch(source, /\bdocument\.|\bwindow\.|localStorage|from '\.\.\//, name);
  }
});

test('everything that the page loads is there', () => {
  for (const [, path] of index.matchAll(/(?:href|src)="\/static\/([^"]+)"/g)) assert.ok(readFileSync(join(WEB, path)).length, path);
});
