import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Connection } from './fake_connection.mjs';

globalThis.RTCPeerConnection = Connection;
globalThis.RTCRtpSender = { getCapabilities: () => ({ codecs: [] }) };
const { MediaConnections } = await import('../../../web/client/media_connections.js');

const video = { kind: 'video', readyState: 'live', getSettings: () => ({ width: 1280, height: 720 }) };
const audio = { kind: 'audio', readyState: 'live', getSettings: () => ({}) };
const ICE = [{ urls: ['turn:a.example.org'] }];

beforeEach(() => {
  Connection.all = [];
});

/** Connections of a participant, opened once. `answers`: track ids by mid for an offer; default: all accepted. */
function opened({ answers = undefined, permissions = { publish: true, data: false, sources: [] } } = {}) {
  const requests = [];
  let count = 0;
  const made = new MediaConnections({
    preferences: {},
    permissions: () => permissions,
    answer: () => {},
    request: async (message) => {
      requests.push(message);
      if (message.type !== 'publish') return {};
      const tracks = answers ?? Object.fromEntries(message.tracks.map(({ mid }) => [mid, `TR_${count++}`]));
      return { sdp: 'v=0\n', tracks };
    },
  });
  made.open(ICE, false);
  return { made, requests, permissions };
}

test('a new session republishes the tracks on a new connection', async () => {
  const { made } = opened();
  const publication = await made.publisher.publish(video, { source: 'camera' });
  const [before, subscriber] = [made.publisher, made.subscriber];
  made.open([], true);
  assert.notEqual(made.publisher, before);
  assert.notEqual(made.subscriber, subscriber);
  assert.deepEqual([...made.publications], [publication]);
  assert.equal(before.connection.signalingState, 'closed');
});

test('a lost track replaces the publishing connection, with what is still allowed', async () => {
  const { made, permissions } = opened();
  const camera = await made.publisher.publish(video, { source: 'camera' });
  const microphone = await made.publisher.publish(audio, { source: 'microphone' });
  const before = made.publisher;
  made.replacePublisher('TR_unknown');
  assert.equal(made.publisher, before);
  permissions.sources = ['microphone'];
  made.replacePublisher(camera.id);
  assert.notEqual(made.publisher, before);
  assert.deepEqual([...made.publications], [microphone]);
});

test('a track without an id in the answer is refused', async () => {
  const { made } = opened({ answers: {} });
  const refused = new Promise((resolve) => made.on('refused', resolve));
  const publication = await made.publisher.publish(video, { source: 'camera' });
  const { publication: found, error } = await refused;
  assert.equal(found, publication);
  assert.equal(error.code, 'not_accepted');
});

test('a failed TURN server moves both connections', async () => {
  const { made, requests } = opened();
  await made.publisher.publish(video, { source: 'camera' });
  requests.length = 0;
  made.useIceServers(ICE);
  assert.deepEqual(requests, []);
  made.useIceServers(ICE, true);
  assert.ok(requests.some(({ type }) => type === 'restart'));
  assert.equal(made.iceServers, ICE);
});

test('a resume checks what the server still knows', async () => {
  const { made, requests } = opened();
  const { id } = await made.publisher.publish(video, { source: 'camera' });
  const before = made.publisher;
  made.check(new Set([id]));
  assert.equal(made.publisher, before);
  made.check(new Set());
  assert.notEqual(made.publisher, before);
  assert.ok(!requests.some(({ type }) => type === 'restart'));
});

test('a path that is lost and found again is reported', () => {
  const { made } = opened();
  const reports = [];
  made.on('lost', (lost) => reports.push(lost));
  for (const state of ['disconnected', 'connected', 'failed']) {
    made.publisher.connection.connectionState = state;
    made.publisher.emit('state', state);
  }
  assert.deepEqual(reports, [true, false, true]);
});
