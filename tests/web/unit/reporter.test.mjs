import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reportOf } from '../../../web/client/reporter.js';

const path = { state: 'connected', rtt: 0, incoming: 0, outgoing: 0, available: 0, protocol: 'udp' };
const received = (more) => ({ direction: 'subscribe', kind: 'video', loss: 0, jitter: 0, freezes: 0, frozen: 0, concealing: 0, limitation: '', ...more });
const digest = (tracks, publish = 0.02, subscribe = 0.05) => ({ publish: { ...path, rtt: publish }, subscribe: { ...path, rtt: subscribe }, tracks });

test('reports the worst received track, and freezes since the last report', () => {
  const totals = new Map();
  const look = (a, b) => reportOf(digest({ A: received({ loss: 0.01, jitter: 0.004, ...a }), B: received({ loss: 0.2, jitter: 0.002, concealing: 0.1, ...b }) }), totals);
  look({ freezes: 2, frozen: 1.5 }, { freezes: 1, frozen: 0.5 });
  const report = look({ freezes: 3, frozen: 2.25 }, { freezes: 1, frozen: 0.5 });
  assert.deepEqual(report, { rtt: 0.05, jitter: 0.004, loss: 0.2, freezes: 1, frozen: 0.75, concealed: 0.1, limited: [] });
});

test('a restarted track adds no freezes', () => {
  const totals = new Map([['A', { freezes: 9, frozen: 9 }]]);
  assert.equal(reportOf(digest({ A: received({ freezes: 1, frozen: 1 }) }), totals).freezes, 0);
});

test('own videos with limited quality', () => {
  const sent = (limitation) => ({ direction: 'publish', kind: 'video', limitation });
  const { limited } = reportOf(digest({ A: sent('cpu'), B: sent(''), C: sent('bandwidth'), D: sent('none'), E: received() }), new Map());
  assert.deepEqual(limited, [{ track: 'A', reason: 'cpu' }, { track: 'C', reason: 'bandwidth' }]);
});

test('any browser value gives a valid report', () => {
  const report = reportOf(digest({ A: received({ jitter: NaN, loss: 7, freezes: 1e9, frozen: Infinity, concealing: -1 }) }, 1e9, NaN), new Map());
  assert.deepEqual(report, { rtt: 0, jitter: 0, loss: 1, freezes: 10_000, frozen: 0, concealed: 0, limited: [] });
});
