import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changes, desired, SubscriptionSettings } from '../../../web/client/subscription_settings.js';

const tile = (width, height, more = {}) => ({ width, height, visible: true, ...more });
const demands = (table) => new Map(Object.entries(table).map(([track, list]) => [track, new Map(list.entries())]));

test('a tile requests its size in steps of 16 pixels', () => {
  const settings = desired(['T'], demands({ T: [tile(321, 180)] }), false).get('T');
  assert.deepEqual({ width: settings.width, height: settings.height, paused: settings.paused }, { width: 336, height: 192, paused: false });
});

test('the larger of two tiles of one track counts', () => {
  assert.equal(desired(['T'], demands({ T: [tile(160, 90), tile(1280, 720)] }), false).get('T').width, 1280);
});

test('larger tiles have higher priority, the main tile the highest', () => {
  const settings = desired(['A', 'B', 'C'], demands({ A: [tile(160, 90)], B: [tile(1280, 720)], C: [tile(640, 360, { main: true })] }), false);
  assert.ok(settings.get('A').priority < settings.get('B').priority);
  assert.equal(settings.get('C').priority, 255);
});

for (const [name, table, hidden] of [
  ['no tile shows it', {}, false],
  ['its tile is out of sight', { T: [tile(640, 360, { visible: false })] }, false],
  ['its tile has no size yet', { T: [tile(0, 0)] }, false],
  ['the page is hidden', { T: [tile(640, 360)] }, true],
]) {
  test(`a track is paused when ${name}`, () => assert.equal(desired(['T'], demands(table), hidden).get('T').paused, true));
}

const full = (more = {}) => ({ track: 'T', width: 640, height: 368, priority: 100, paused: false, ...more });
for (const [name, wanted, sent, expected] of [
  ['new settings are sent in full', full(), null, [full()]],
  ['nothing new is not said', full(), full(), []],
  ['a pause is said alone', full({ paused: true }), full(), [{ track: 'T', paused: true }]],
  ['a pause is said once', full({ paused: true }), full({ paused: true }), []],
  ['after a pause everything is said', full(), full({ paused: true }), [full()]],
  ['another priority is said alone', full({ priority: 9 }), full(), [{ track: 'T', priority: 9 }]],
  ['another size is said whole', full({ width: 320 }), full(), [full({ width: 320 })]],
]) {
  test(name, () => assert.deepEqual(changes(new Map([['T', wanted]]), new Map(sent ? [['T', sent]] : [])), expected));
}

function collected() {
  const said = [];
  const timers = [];
  const settings = new SubscriptionSettings(async (list) => said.push(list), { setTimeout: (callback) => timers.push(callback), clearTimeout() {} });
  return { settings, said, flush: () => timers.splice(0).forEach((callback) => callback()) };
}

test('rapid changes are combined into one message', () => {
  const { settings, said, flush } = collected();
  settings.tracks(new Set(['A', 'B']));
  for (let width = 100; width < 400; width += 16) settings.demand('A', 'tile', tile(width, 100));
  flush();
  assert.equal(said.length, 1);
  assert.deepEqual(said[0].map(({ track, paused }) => [track, paused]), [['A', false], ['B', true]]);
  flush();
  assert.equal(said.length, 1);
});

test('a removed tile pauses its track; a new session gets all settings again', () => {
  const { settings, said, flush } = collected();
  settings.tracks(new Set(['A']));
  settings.demand('A', 'tile', tile(320, 180));
  flush();
  settings.demand('A', 'tile', null);
  flush();
  assert.deepEqual(said[1], [{ track: 'A', paused: true }]);
  settings.forget();
  settings.demand('A', 'tile', tile(320, 180));
  flush();
  assert.equal(said[2][0].width, 320);
});

test('rejected settings are repeated with current values, except for removed tracks', async () => {
  const calls = [];
  let answer = () => Promise.reject({ code: 'rate_limited' });
  const later = [];
  const timers = { setTimeout: (callback) => later.push(callback), clearTimeout: () => {} };
  const run = async () => {
    for (const callback of later.splice(0)) callback();
    await new Promise((resolve) => setImmediate(resolve));
  };
  const settings = new SubscriptionSettings((list) => (calls.push(list), answer()), timers);
  settings.tracks(new Set(['T']));
  settings.demand('T', {}, tile(320, 180));
  await run();
  assert.equal(calls.length, 1);
  answer = () => Promise.reject({ code: 'not_found' });
  await run(); // the wait is over
  await run(); // and the settings are sent again
  assert.deepEqual(calls[1], calls[0]);
  await run();
  await run();
  assert.equal(calls.length, 2);
});
