import assert from 'node:assert/strict';
import { test } from 'node:test';
import { initial, reduce } from '../../../web/client/state.js';

const joined = {
  type: 'joined',
  participant: { id: 'ME', identity: 'me' },
  permissions: { publish: true, subscribe: true, data: true, admin: true, sources: [] },
  room: { name: 'r', id: 'R' },
  participants: [{ id: 'B', identity: 'bob', name: 'Bob', tracks: [{ id: 'T', kind: 'video', source: 'camera' }] }],
  chat: [{ id: 'C1', participant: 'B', name: 'Bob', text: 'hi', at: 1 }],
};
const inside = reduce(initial, joined);
const play = (...messages) => messages.reduce(reduce, inside);
const bob = (state) => state.participants.get('B');

test('omitted fields have defaults', () => {
  assert.equal(inside.phase, 'joined');
  assert.equal(inside.me.name, 'me');
  assert.equal(inside.room.locked, false);
  assert.deepEqual(bob(inside).attributes, {});
  assert.equal(bob(inside).tracks[0].muted, false);
  assert.equal(inside.chat[0].to, '');
});

for (const [name, messages, look, expected] of [
  ['a participant joins', [{ type: 'participant_joined', participant: { id: 'E', identity: 'eve' } }], (s) => [...s.participants.keys()], ['B', 'E']],
  ['a participant leaves', [{ type: 'participant_left', participant: 'B' }], (s) => s.participants.size, 0],
  ['a name changes, the tracks stay', [{ type: 'participant_updated', participant: { id: 'B', identity: 'bob', name: 'Robert' } }], (s) => [bob(s).name, bob(s).tracks.length], ['Robert', 1]],
  ['a hand goes up', [{ type: 'participant_updated', participant: { id: 'ME', identity: 'me', attributes: { hand: '1' } } }], (s) => s.me.attributes.hand, '1'],
  ['a track comes', [{ type: 'track_published', participant: 'B', track: { id: 'A', kind: 'audio' } }], (s) => bob(s).tracks.map(({ id }) => id), ['T', 'A']],
  ['a known track changes', [{ type: 'track_published', participant: 'B', track: { id: 'T', kind: 'video', width: 640 } }], (s) => bob(s).tracks.map(({ width }) => width), [640]],
  ['a track goes', [{ type: 'track_unpublished', participant: 'B', track: 'T' }], (s) => bob(s).tracks, []],
  ['a track is muted', [{ type: 'track_muted', participant: 'B', track: 'T', muted: true }], (s) => bob(s).tracks[0].muted, true],
  ['and unmuted, which the wire does not spell out', [{ type: 'track_muted', participant: 'B', track: 'T', muted: true }, { type: 'track_muted', participant: 'B', track: 'T' }], (s) => bob(s).tracks[0].muted, false],
  ['a picture is paused', [{ type: 'subscription', track: 'T', paused: true, reason: 'congestion' }], (s) => s.subscriptions.get('T').reason, 'congestion'],
  ['causes of the quality of a video', [{ type: 'diagnostics', estimate: 6e5, rtt_ms: 50, video_stats: [{ track: 'T', cause: 'budget', height: 360, max_height: 720 }] }], ({ account: { estimate, rtt, pictures } }) => [estimate, rtt, pictures.get('T').topHeight, pictures.get('T').limitation, pictures.get('T').paused], [6e5, 0.05, 720, 'none', false]],
  ['decisions, each once', [{ type: 'diagnostics', events: [{ number: 1 }, { number: 2 }] }, { type: 'diagnostics', events: [{ number: 1 }, { number: 2 }, { number: 3, kind: 'loss' }] }], (s) => s.account.decisions.map(({ number }) => number), [1, 2, 3]],
  ['at most fifty of them', [{ type: 'diagnostics', events: Array.from({ length: 64 }, (_, number) => ({ number: number + 1 })) }], (s) => [s.account.decisions.length, s.account.decisions[0].number], [50, 15]],
  ['no picture of who left', [{ type: 'diagnostics', video_stats: [{ track: 'T', cause: 'requested' }] }, { type: 'participant_left', participant: 'B' }], (s) => s.account.pictures.size, 0],
  ['and forgotten with its owner', [{ type: 'subscription', track: 'T', paused: true }, { type: 'participant_left', participant: 'B' }], (s) => s.subscriptions.size, 0],
  ['a participant speaks', [{ type: 'speakers', dominant: 'B', speakers: [{ participant: 'B', level: 0.5 }] }], (s) => [s.dominant, s.levels.get('B')], ['B', 0.5]],
  ['and is silent again', [{ type: 'speakers', dominant: 'B', speakers: [{ participant: 'B', level: 0.5 }] }, { type: 'speakers', dominant: 'B' }], (s) => s.levels.size, 0],
  ['qualities add up', [{ type: 'quality', participants: { B: 'poor' } }, { type: 'quality', participants: { ME: 'good' }, rtt_ms: 20 }], (s) => [s.quality.get('B'), s.quality.get('ME'), s.rtt], ['poor', 'good', 0.02]],
  ['a line is kept once', [{ type: 'chat_message', entry: { id: 'C2', text: 'a' } }, { type: 'chat_message', entry: { id: 'C2', text: 'a' } }], (s) => s.chat.length, 2],
  ['the room is locked', [{ type: 'room_updated', room: { name: 'r', id: 'R', locked: true } }], (s) => s.room.locked, true],
  ['the room is live', [{ type: 'room_updated', room: { name: 'r', id: 'R', egress: { live: true } } }], (s) => [s.room.egress.live, s.room.egress.recording, s.room.egress.layout], [true, false, 'auto']],
  ['a participant waits', [{ type: 'lobby', waiting: [{ participant: 'E', identity: 'eve' }] }], (s) => s.waiting[0].name, 'eve'],
  ['permissions change', [{ type: 'permissions', permissions: { publish: false } }], (s) => s.permissions.publish, false],
]) {
  test(name, () => assert.deepEqual(look(play(...messages)), expected));
}

test('unknown messages and unknown participants change nothing', () => {
  assert.equal(play({ type: 'from_the_future' }), inside);
  assert.equal(play({ type: 'track_muted', participant: 'GONE', track: 'X', muted: true }), inside);
});

test('the previous state is not modified', () => {
  const before = JSON.stringify([...inside.participants]);
  play({ type: 'track_muted', participant: 'B', track: 'T', muted: true }, { type: 'participant_left', participant: 'B' });
  assert.equal(JSON.stringify([...inside.participants]), before);
});

test('a resumed session keeps measurements, a new one does not', () => {
  const measured = play({ type: 'quality', participants: { B: 'poor' } });
  assert.equal(reduce(measured, { ...joined, resumed: true }).quality.size, 1);
  assert.equal(reduce(measured, joined).quality.size, 0);
});
