import assert from 'node:assert/strict';
import { test } from 'node:test';

import { passOver } from '../../../web/watch/parts.js';

/** @param {string} text `72.0-` was not loaded, `72.1+` was */
const list = (text) => text.split(' ').map((word) => ({ loaded: word.endsWith('+'), gap: false, fragment: { sn: Number(word.split('.')[0]) } }));

for (const [before, gaps] of [
  ['71.3+ 71.4+ 72.0- 72.1- 72.2+ 72.3+ 72.4+ 73.0-', [2, 3]],
  ['71.0- 71.1- 72.0+ 72.1- 72.2-', []],
  ['71.4+ 72.0- 72.1-', []],
  ['72.0+ 72.1- 72.2+ 72.3-', [1]],
  ['', []],
]) {
  test(`lost parts: ${before}`, () => {
    const parts = before ? list(before) : [];
    passOver(parts);
    assert.deepEqual(parts.flatMap(({ gap }, index) => (gap ? [index] : [])), gaps);
  });
}
