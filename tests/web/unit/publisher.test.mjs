import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { RequestError } from '../../../web/client/errors.js';
import { Connection } from './fake_connection.mjs';

globalThis.RTCPeerConnection = Connection;
globalThis.RTCRtpSender = { getCapabilities: () => ({ codecs: [] }) };
const { Publisher } = await import('../../../web/client/publisher.js');

const video = { kind: 'video', readyState: 'live', getSettings: () => ({ width: 1280, height: 720 }) };
const audio = { kind: 'audio', readyState: 'live', getSettings: () => ({}) };
let count = 0;
const accept = ({ tracks }) => ({ sdp: 'v=0\n', tracks: Object.fromEntries(tracks.map(({ mid }) => [mid, `TR_${count++}`])) });

beforeEach(() => {
  Connection.all = [];
});

/** @param {Array<string>} refusals codes of the first answers; empty: accepted */
function publisher(...refusals) {
  const offers = [];
  const made = new Publisher({
    offer: async (offer) => {
      offers.push(offer);
      const code = refusals.shift();
      if (code) throw new RequestError(code, 'no');
      return accept(offer);
    },
  });
  return { made, offers };
}

test('a rejected track is removed, and the next one is published', async () => {
  for (const [first, second] of [[audio, video], [video, audio], [video, video]]) {
    const { made, offers } = publisher('', 'at_capacity');
    await made.publish(audio, { source: 'microphone' });
    await assert.rejects(made.publish(first, { source: 'unknown' }), { code: 'at_capacity' });
    const { connection } = made;
    assert.equal(connection.rollbacks, 1);
    assert.equal(connection.signalingState, 'stable');
    assert.equal(made.publications.size, 1);
    assert.equal(connection.transceivers[1].sender.sent, null, 'nothing of a refused track is sent');
    const next = await made.publish(second, { source: 'unknown' });
    assert.match(next.id, /^TR_/);
    assert.deepEqual(offers.at(-1).tracks.map(({ source }) => source), ['microphone', 'unknown']);
    assert.equal(connection.transceivers[1].direction, 'inactive');
    await made.unpublish(next);
    assert.ok(connection.transceivers[1].stopped, 'its m-line is given back once it has one');
  }
});

test('removing a track during its negotiation does not break a rollback', async () => {
  let refuse = () => {};
  const made = new Publisher({ offer: () => new Promise((_, reject) => (refuse = () => reject(new RequestError('draining', 'no')))) });
  const published = made.publish(video, { source: 'camera' });
  await new Promise((resolve) => setTimeout(resolve));
  const unpublished = made.unpublish([...made.publications][0]);
  refuse();
  await assert.rejects(published, { code: 'draining' });
  await assert.rejects(unpublished, { code: 'draining' });
  made.offer = async (offer) => accept(offer);
  assert.match((await made.publish(audio, { source: 'microphone' })).id, /^TR_/);
});

test('an exhausted connection is replaced once per offer', async () => {
  const { made, offers } = publisher('', 'connection_exhausted', '');
  const microphone = await made.publish(audio, { source: 'microphone' });
  const before = microphone.id;
  const screen = await made.publish(video, { source: 'screen_share' });
  assert.equal(Connection.all.length, 2);
  assert.equal(Connection.all[0].signalingState, 'closed');
  assert.equal(made.connection, Connection.all[1]);
  assert.ok(microphone.id && microphone.id !== before);
  assert.ok(screen.id);
  assert.deepEqual(offers[2].tracks.map(({ source }) => source), ['microphone', 'screen_share']);

  const { made: unlucky } = publisher('connection_exhausted', 'connection_exhausted');
  await assert.rejects(unlucky.publish(video, { source: 'camera' }), { code: 'connection_exhausted' });
});

test('inactive layers stay off during another negotiation', async () => {
  const { made } = publisher();
  const camera = await made.publish(video, { source: 'camera' });
  const active = () => camera.transceiver.sender.encodings.filter((one) => one.active).map(({ rid }) => rid);
  assert.deepEqual(active(), ['q', 'h', 'f']);
  made.send(camera.id, ['q']);
  await made.publish(audio, { source: 'microphone' });
  assert.deepEqual(active(), ['q']);
  made.send(camera.id, ['q', 'h']);
  made.restart();
  await made.publish(audio, { source: 'unknown' });
  assert.deepEqual(active(), ['q', 'h']);
});
