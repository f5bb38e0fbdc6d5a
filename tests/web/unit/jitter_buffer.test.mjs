import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JitterBufferTarget, sampleOf } from '../../../web/client/jitter_buffer.js';

/** @param {[number, number, number][]} samples packets received and requested again since the last sample, round trip */
function targets(samples) {
  const target = new JitterBufferTarget();
  let received = 0;
  let asked = 0;
  return samples.map(([more, again, rtt]) => target.update({ received: (received += more), asked: (asked += again), rtt }));
}

test('a clean path does not wait', () => {
  assert.deepEqual(targets([[100, 0, 0.1], [100, 0, 0.1], [100, 1, 0.1]]), [null, null, null]);
});

test('a lossy path waits for retransmissions, a slow one longer, up to a limit', () => {
  assert.deepEqual(targets([[100, 0, 0.1], [100, 5, 0.1]]), [null, 280]);
  assert.deepEqual(targets([[100, 0, 0.2], [100, 5, 0.2]]), [null, 430]);
  assert.deepEqual(targets([[100, 0, 2], [100, 5, 2]]), [null, 500]);
});

test('small round-trip changes are ignored', () => {
  assert.deepEqual(targets([[100, 0, 0.1], [100, 5, 0.1], [100, 5, 0.12], [100, 5, 0.16]]), [null, 280, 280, 370]);
});

test('waiting ends after ten clean seconds', () => {
  const clean = /** @type {[number, number, number]} */ ([200, 0, 0.1]);
  assert.deepEqual(
    targets([[100, 0, 0.1], [100, 5, 0.1], clean, clean, clean, clean, [100, 5, 0.1], clean, clean, clean, clean, clean]),
    [null, 280, 280, 280, 280, 280, 280, 280, 280, 280, 280, null],
  );
});

test('samples without packets and ended streams are ignored', () => {
  assert.deepEqual(targets([[100, 0, 0.1], [100, 5, 0.1], [0, 0, 0.1], [-50, -5, 0.1]]), [null, 280, 280, 280]);
});

test('statistics are summed over all video tracks', () => {
  const report = [
    { type: 'inbound-rtp', kind: 'video', packetsReceived: 10, nackCount: 1 },
    { type: 'inbound-rtp', kind: 'video', packetsReceived: 20 },
    { type: 'inbound-rtp', kind: 'audio', packetsReceived: 500 },
    { type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.05 },
    { type: 'candidate-pair', nominated: false, currentRoundTripTime: 0.5 },
  ];
  assert.deepEqual(sampleOf(report), { received: 30, asked: 1, rtt: 0.05 });
});
