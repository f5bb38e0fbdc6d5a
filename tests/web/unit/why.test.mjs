import assert from 'node:assert/strict';
import { test } from 'node:test';
import { grade, told, why } from '../../../web/views/why.js';

const account = { estimate: 613_000, rtt: 0.05, loss: 0, height: 480, rule: 'estimate', pictures: new Map(), decisions: [] };
const picture = { track: 'T', cause: 'wish', paused: false, layer: 'h', width: 640, height: 360, topHeight: 720, limitation: 'none' };

for (const [what, value, expected] of [
  ['latency', 0.099, 'good'], ['latency', 0.1, 'warning'], ['latency', 0.3, 'warning'], ['latency', 0.301, 'severe'],
  ['jitter', 0.0149, 'good'], ['jitter', 0.015, 'warning'], ['jitter', 0.05, 'warning'], ['jitter', 0.051, 'severe'],
  ['loss', 0, 'good'], ['loss', 0.03, 'warning'], ['loss', 0.2, 'severe'],
]) {
  test(`${what} of ${value} is ${expected}`, () => assert.equal(grade(what, value), expected));
}

for (const [name, change, more, expected, text] of [
  ['as wished', {}, {}, 'good', /screen needs/],
  ['the largest there is', { height: 720 }, {}, 'good', /best that is sent/],
  ['a narrow path', { cause: 'budget' }, {}, 'warning', 'Smaller because your connection carries about 610 kbit/s.'],
  ['a narrow path of which nothing is known', { cause: 'budget' }, { estimate: 0 }, 'warning', 'Smaller because your connection carries no more.'],
  ['held back', { cause: 'hold' }, {}, 'warning', /for a while/],
  ['a rule', { cause: 'tier' }, {}, 'warning', 'At most 480 lines: the rule here for a connection that carries about 610 kbit/s.'],
  ['a rule about delay', { cause: 'tier' }, { rule: 'delay' }, 'warning', /slow to answer/],
  ['a rule about loss', { cause: 'tier' }, { rule: 'loss' }, 'warning', /get lost/],
  ['a busy sender', { limitation: 'cpu' }, {}, 'warning', /sender's computer is busy/],
  ['a narrow sender', { limitation: 'bandwidth' }, {}, 'warning', /sender's connection/],
  ['what holds it here comes first', { cause: 'budget', limitation: 'cpu' }, {}, 'warning', /your connection/],
  ['paused by the path', { cause: 'budget', paused: true }, { estimate: 90_000 }, 'severe', 'Paused: your connection carries about 90 kbit/s.'],
  ['hidden', { cause: 'hidden', paused: true }, {}, 'good', /do not look/],
  ['muted', { cause: 'muted', paused: true }, {}, 'good', /turned it off/],
  ['one of many', { cause: 'last_n', paused: true }, {}, 'good', /only those who spoke last/],
  ['silent', { cause: 'silent', paused: true }, {}, 'severe', /Waiting/],
  ['what a newer server says', { cause: 'moonlight', paused: true }, {}, 'severe', 'Paused.'],
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
  [{}, 'Ada: smaller picture (720 → 360 lines). Your connection carries about 610 kbit/s.'],
  [{ cause: 'wish' }, 'Ada: smaller picture (720 → 360 lines). Its place on your screen is smaller.'],
  [{ kind: 'layer_up', before: 0 }, 'Ada: sharper picture. Your connection carries it again.'],
  [{ kind: 'paused', after: 0 }, 'Ada: paused. Your connection carries about 610 kbit/s.'],
  [{ kind: 'resumed' }, 'Ada: the picture is back.'],
  [{ kind: 'resumed', cause: 'silent' }, 'Ada: the picture has begun.'],
  [{ kind: 'keyframe', cause: 'viewer' }, 'Ada: your browser asked for a whole picture, for a part was missing.'],
  [{ kind: 'keyframe', cause: 'viewer', track: 'mine' }, 'Somebody needed a whole picture of you.'],
  [{ kind: 'loss', cause: 'receiving', before: 0, after: 0.08 }, 'Packets get lost on the way to you: 8.0 %.'],
  [{ kind: 'loss', cause: 'sending', before: 0.08, after: 0.01 }, 'Packets no longer get lost on the way from you.'],
  [{ kind: 'estimate', before: 2_410_000, after: 613_000 }, 'Your connection carries less now: about 610 kbit/s, before 2.4 Mbit/s.'],
  [{ kind: 'tier', cause: 'delay', before: 720, after: 480 }, 'Pictures may have 480 lines now, before 720. Your connection has become slow to answer.'],
  [{ kind: 'limited', cause: 'cpu' }, "Ada's computer is busy: the picture is smaller."],
  [{ kind: 'limited', cause: 'uplink', track: 'mine' }, 'Your connection is slow: the picture of you is smaller.'],
  [{ kind: 'limited', cause: 'none' }, 'Ada sends the full picture again.'],
  [{ kind: 'eclipse' }, ''],
]) {
  test(`told: ${expected || 'nothing of what is not known'}`, () => assert.equal(told({ ...decision, ...change }, names), expected));
}
