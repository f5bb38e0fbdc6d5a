import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wait } from '../../../web/client/backoff.js';

const rows = [
  // attempt, chance, milliseconds
  [0, 0, 100],
  [0, 0.5, 150],
  [1, 0, 200],
  [3, 0.999, 1599],
  [5, 0, 2500],
  [50, 0, 2500],
  [50, 0.999, 4998],
];

for (const [attempt, chance, expected] of rows) {
  test(`attempt ${attempt} with chance ${chance} waits ${expected} ms`, () => assert.equal(wait(attempt, chance), expected));
}

test('the limits are arguments', () => assert.equal(wait(4, 0, { first: 1000, factor: 3, most: 15_000 }), 7500));
