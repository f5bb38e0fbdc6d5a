import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describe, grade, why } from '../../../web/views/explanations.js';

const account = { estimate: 613_000, rtt: 0.05, loss: 0, height: 480, rule: 'estimate', pictures: new Map(), decisions: [] };
const picture = { track: 'T', cause: 'requested', paused: false, layer: 'h', width: 640, height: 360, topHeight: 720, limitation: 'none' };

for (const [what, value, expected] of [
  ['latency', 0.099, 'good'], ['latency', 0.1, 'warning'], ['latency', 0.3, 'warning'], ['latency', 0.301, 'severe'],
  ['jitter', 0.0149, 'good'], ['jitter', 0.015, 'warning'], ['jitter', 0.05, 'warning'], ['jitter', 0.051, 'severe'],
  ['loss', 0, 'good'], ['loss', 0.03, 'warning'], ['loss', 0.2, 'severe'],
]) {
  test(`${what} of ${value} is ${expected}`, () => assert.equal(grade(what, value), expected));
}

for (const [name, change, more, expected, text] of [
  ['as requested', {}, {}, 'good', /for its size/],
  ['the largest there is', { height: 720 }, {}, 'good', /Best available/],
  ['a narrow path', { cause: 'budget' }, {}, 'warning', 'Reduced quality: low bandwidth (about 610 kbit/s).'],
  ['a narrow path without an estimate', { cause: 'budget' }, { estimate: 0 }, 'warning', 'Reduced quality: low bandwidth.'],
  ['held back', { cause: 'hold' }, {}, 'warning', /for a moment/],
  ['a rule', { cause: 'tier' }, {}, 'warning', 'Limited to 480p by the server for your bandwidth (about 610 kbit/s).'],
  ['a rule about delay', { cause: 'tier' }, { rule: 'delay' }, 'warning', /high latency/],
  ['a rule about loss', { cause: 'tier' }, { rule: 'loss' }, 'warning', /packet loss/],
  ['a busy sender', { limitation: 'cpu' }, {}, 'warning', /sender's CPU/],
  ['a narrow sender', { limitation: 'bandwidth' }, {}, 'warning', /sender's connection/],
  ['the reason on this side comes first', { cause: 'budget', limitation: 'cpu' }, {}, 'warning', /low bandwidth/],
  ['paused by the path', { cause: 'budget', paused: true }, { estimate: 90_000 }, 'severe', 'Paused: low bandwidth (about 90 kbit/s).'],
  ['hidden', { cause: 'hidden', paused: true }, {}, 'good', /not visible/],
  ['muted', { cause: 'muted', paused: true }, {}, 'good', /Turned off/],
  ['one of many', { cause: 'last_n', paused: true }, {}, 'good', /only recent speakers/],
  ['silent', { cause: 'silent', paused: true }, {}, 'severe', /Waiting/],
  ['an unknown cause of a newer server', { cause: 'moonlight', paused: true }, {}, 'severe', 'Paused.'],
]) {
  test(`why: ${name}`, () => {
    const found = why({ ...picture, ...change }, { ...account, ...more });
    assert.equal(found.grade, expected);
    if (typeof text === 'string') assert.equal(found.text, text);
    else assert.match(found.text, text);
  });
}

const decision = { number: 1, at: 0, kind: 'layer_down', cause: 'budget', track: 'T', before: 720, after: 360, rate: 613_000 };
const names = (track) => (track === 'mine' ? 'You' : 'Ada');

for (const [change, expected] of [
  [{}, 'Ada: quality reduced (720p → 360p). Available bandwidth: about 610 kbit/s.'],
  [{ cause: 'requested' }, 'Ada: quality reduced (720p → 360p). Shown at a smaller size.'],
  [{ kind: 'layer_up', before: 0 }, 'Ada: quality increased. More bandwidth available.'],
  [{ kind: 'paused', after: 0 }, 'Ada: video paused. Available bandwidth: about 610 kbit/s.'],
  [{ kind: 'resumed' }, 'Ada: video resumed.'],
  [{ kind: 'resumed', cause: 'silent' }, 'Ada: video started.'],
  [{ kind: 'keyframe', cause: 'viewer' }, 'Ada: keyframe requested by your browser after packet loss.'],
  [{ kind: 'keyframe', cause: 'viewer', track: 'mine' }, 'Keyframe requested by a participant.'],
  [{ kind: 'loss', cause: 'receiving', before: 0, after: 0.08 }, 'Download packet loss: 8.0 %.'],
  [{ kind: 'loss', cause: 'sending', before: 0.08, after: 0.01 }, 'Upload packet loss ended.'],
  [{ kind: 'estimate', before: 2_410_000, after: 613_000 }, 'Bandwidth decreased to about 610 kbit/s (was 2.4 Mbit/s).'],
  [{ kind: 'tier', cause: 'delay', before: 720, after: 480 }, 'Maximum video resolution: 480p (was 720p). High latency.'],
  [{ kind: 'limited', cause: 'cpu' }, "Ada's video quality is limited by the CPU."],
  [{ kind: 'limited', cause: 'uplink', track: 'mine' }, 'Your video quality is limited by the connection.'],
  [{ kind: 'limited', cause: 'none' }, "Ada's video is back to full quality."],
  [{ kind: 'eclipse' }, ''],
]) {
  test(`describe: ${expected || 'empty for an unknown kind'}`, () => assert.equal(describe({ ...decision, ...change }, names), expected));
}
