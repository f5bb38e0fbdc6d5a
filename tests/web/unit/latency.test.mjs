import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LatencyController } from '../../../web/watch/latency.js';

const TICK = 0.1;
const PART = 0.2;

/**
 * A viewer in front of parts that come every 0.2 s, each as late as `late(number)` says.
 * @param {{seconds: number, behind: number, late?: (number: number) => number, controller?: LatencyController}} options
 */
function watch({ seconds, behind, late = () => 0, controller = new LatencyController() }) {
  let position = 10 - behind;
  let rate = 1;
  let stalls = 0;
  let jumps = 0;
  const forwards = [];
  const rates = new Set();
  for (let tick = 0; tick < seconds / TICK; tick++) {
    const now = 10 + tick * TICK;
    let parts = Math.floor((now - 10) / PART + 1e-9);
    while (parts > 0 && 10 + parts * PART + late(parts) > now + 1e-9) parts--;
    const end = 10 + parts * PART;
    const next = position + rate * TICK;
    if (tick && next > end) {
      stalls++;
      controller.stalled();
    }
    if (tick) position = Math.min(next, end);
    const answer = controller.tick(position, end, now);
    if (answer.jump !== null) {
      position = answer.jump;
      jumps++;
    }
    rate = answer.rate;
    rates.add(rate);
    if (now > 10 + seconds - 10) forwards.push(end - position);
  }
  return { stalls, jumps, least: Math.min(...forwards), most: Math.max(...forwards), rates, controller };
}

test('on a steady network the buffer is little more than a part', () => {
  const { stalls, most, least } = watch({ seconds: 60, behind: 1.2 });
  assert.equal(stalls, 0);
  assert.ok(most < 0.45, `${most}`);
  assert.ok(least > 0.02, `${least}`);
});

test('lateness enlarges the margin and prevents a second stall', () => {
  const late = (/** @type {number} */ number) => (number % 7 === 0 ? 0.15 : 0);
  const calm = watch({ seconds: 60, behind: 0.6 });
  const rough = watch({ seconds: 60, behind: 0.6, late });
  assert.ok(rough.controller.target > calm.controller.target + 0.05);
  assert.ok(rough.stalls <= 1, `${rough.stalls}`);
  assert.ok(rough.most < 0.8, `${rough.most}`);
});

test('the rate stays within the inaudible range', () => {
  for (const behind of [0.05, 0.4, 1.5]) {
    for (const rate of watch({ seconds: 30, behind }).rates) assert.ok(rate >= 0.95 && rate <= 1.15, `${rate}`);
  }
});

test('playback far behind jumps', () => {
  const { jumps, most } = watch({ seconds: 20, behind: 6 });
  assert.equal(jumps, 1);
  assert.ok(most < 0.5);
});

test('the effect of a stall decays', () => {
  const controller = new LatencyController();
  const calm = controller.target;
  controller.stalled();
  assert.ok(controller.target > calm + 0.1);
  watch({ seconds: 300, behind: 0.5, controller });
  assert.ok(controller.target < calm + 0.1, `${controller.target}`);
});

test('the target is bounded after many stalls', () => {
  const controller = new LatencyController();
  for (let number = 0; number < 100; number++) controller.stalled();
  assert.equal(controller.target, 3);
});
