import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Adaptation } from '../../../web/watch/adaptation.js';

const TICK = 0.1;
const PART = 0.2;
const TARGET = 0.15;
const RATES = [280_000, 850_000, 1_650_000, 4_200_000];

/**
 * A viewer in front of a line of so many bits a second: parts come one after the other, as fast as it lets them, and what is
 * left to play follows from that. The round trip takes time that says nothing.
 * @param {{seconds: number, line: (now: number) => number, rates?: number[], ceiling?: number, adaptation?: Adaptation}} options
 */
function watch({ seconds, line, rates = RATES, ceiling = rates.length - 1, adaptation = new Adaptation() }) {
  adaptation.begin(rates, ceiling, 0);
  const first = adaptation.level;
  let sent = 0;
  let startedAt = 0;
  let margin = TARGET;
  let cushion = 0;
  let stalls = 0;
  let bits = 0;
  let size = (rates[adaptation.level] ?? 0) * PART;
  const levels = [adaptation.level];
  for (let tick = 1; tick < seconds / TICK; tick++) {
    const now = tick * TICK;
    bits += line(now) * TICK;
    let busy = 0;
    // Parts that are made, and fit through.
    while (sent < Math.floor(now / PART) && bits >= size) {
      bits -= size;
      busy = size / line(now);
      adaptation.heard(size / 8, busy, now);
      sent++;
      startedAt = now;
      size = (rates[adaptation.level] ?? 0) * PART;
    }
    const waiting = Math.floor(now / PART) - sent;
    if (!waiting) bits = 0;
    margin = TARGET + cushion - waiting * PART;
    if (margin < -PART) {
      stalls++;
      adaptation.stalled(now);
    }
    const flying = waiting ? { bytes: bits / 8, seconds: now - startedAt, total: size / 8 } : null;
    const answer = adaptation.tick({ now, margin, target: TARGET, ceiling, flying });
    cushion = answer.cushion;
    if (answer.abandon) {
      // The next part of the other level, and the newest: the player jumps to it.
      bits = 0;
      sent = Math.floor(now / PART);
      size = (rates[answer.level] ?? 0) * PART;
    }
    if (answer.level !== levels.at(-1)) levels.push(answer.level);
  }
  return { first, levels, stalls, adaptation };
}

test('starts with a level that most networks support', () => {
  assert.equal(watch({ seconds: 1, line: () => 1e8 }).first, 2);
  assert.equal(watch({ seconds: 1, line: () => 1e8, ceiling: 1 }).first, 1);
  assert.equal(watch({ seconds: 1, line: () => 1e8, rates: [5e6, 9e6] }).first, 0);
});

test('on a fast network it goes to the highest useful level and stays', () => {
  assert.deepEqual(watch({ seconds: 60, line: () => 1e8 }).levels, [2, 3]);
  assert.deepEqual(watch({ seconds: 60, line: () => 1e8, ceiling: 2 }).levels, [2]);
});

test('without headroom for the next level it stays', () => {
  assert.deepEqual(watch({ seconds: 120, line: () => 5.5e6 }).levels, [2]);
});

test('a slow network is detected within seconds', () => {
  const { levels } = watch({ seconds: 20, line: (now) => (now < 8 ? 3e6 : 1e6) });
  assert.deepEqual(levels, [2, 1]);
});

test('it can step down by several levels at once', () => {
  const { levels } = watch({ seconds: 30, line: (now) => (now < 5 ? 3e6 : 400_000) });
  assert.equal(levels.at(-1), 0);
  assert.ok(levels.length <= 3, `${levels}`);
});

test('after recovery it steps up by single levels', () => {
  const { levels } = watch({ seconds: 60, line: (now) => (now > 5 && now < 15 ? 400_000 : 1e8) });
  assert.deepEqual(levels.slice(-4), [0, 1, 2, 3]);
});

test('a failed level is retried later each time', () => {
  const adaptation = new Adaptation();
  adaptation.begin(RATES, 3, 0);
  const taken = [];
  // Small parts come as in one piece; those of the highest level do not.
  for (let tick = 0; tick < 3000; tick++) {
    const now = tick * TICK;
    const thin = adaptation.level === 3;
    adaptation.heard(40_000, thin ? 0.2 : 0.004, now);
    const before = adaptation.level;
    const { level } = adaptation.tick({ now, margin: 0.6, target: TARGET, ceiling: 3, flying: null });
    if (level > before) taken.push(now);
  }
  assert.ok(taken.length >= 3 && taken.length <= 6, `${taken}`);
  const waits = taken.slice(1).map((at, index) => at - (taken[index] ?? 0));
  for (const [index, wait] of waits.slice(1).entries()) assert.ok(wait > (waits[index] ?? 0) || wait > 110, `${waits}`);
});

test('a stall on a fast network does not lower the level', () => {
  const adaptation = new Adaptation();
  adaptation.begin(RATES, 2, 0);
  for (let tick = 0; tick < 100; tick++) {
    adaptation.heard(40_000, 0.01, tick * TICK);
    adaptation.stalled(tick * TICK);
    adaptation.tick({ now: tick * TICK, margin: -0.1, target: TARGET, ceiling: 2, flying: null });
  }
  assert.equal(adaptation.level, 2);
});

test('waiting for a part that does not exist yet is ignored', () => {
  const adaptation = new Adaptation();
  adaptation.begin(RATES, 2, 0);
  adaptation.heard(40_000, 0.01, 0);
  for (let tick = 1; tick < 100; tick++) adaptation.tick({ now: tick * TICK, margin: -1, target: TARGET, ceiling: 2, flying: null });
  assert.equal(adaptation.level, 2);
});

test('a part that stops midway is abandoned', () => {
  const adaptation = new Adaptation();
  adaptation.begin(RATES, 2, 0);
  adaptation.heard(40_000, 0.01, 0);
  const answer = adaptation.tick({ now: 1, margin: -0.3, target: TARGET, ceiling: 2, flying: { bytes: 8_000, seconds: 0.8, total: 40_000 } });
  assert.deepEqual(answer, { level: 0, cushion: 0.3, abandon: true });
});

test('it steps up only with extra buffer', () => {
  const adaptation = new Adaptation();
  adaptation.begin(RATES, 3, 0);
  let cushion = 0;
  const tick = (/** @type {number} */ now, /** @type {number} */ margin) => {
    adaptation.heard(40_000, 0.005, now);
    return ({ cushion } = adaptation.tick({ now, margin, target: TARGET, ceiling: 3, flying: null }));
  };
  for (let step = 0; step < 60; step++) tick(step * TICK, TARGET);
  assert.equal(adaptation.level, 2);
  assert.equal(cushion, 0.3);
  tick(6.1, TARGET + 0.28);
  assert.equal(adaptation.level, 3);
  assert.equal(cushion, 0.3);
  for (let step = 62; step < 120; step++) tick(step * TICK, TARGET + 0.3);
  assert.equal(cushion, 0);
});

test('a smaller player uses a lower level', () => {
  const adaptation = new Adaptation();
  adaptation.begin(RATES, 3, 0);
  assert.equal(adaptation.tick({ now: 0, margin: 0.1, target: TARGET, ceiling: 1, flying: null }).level, 1);
});
