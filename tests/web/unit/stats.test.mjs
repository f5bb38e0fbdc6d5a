import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loudness } from '../../../web/client/level.js';
import { digest } from '../../../web/client/stats.js';

const report = (...entries) => new Map(entries.map((entry) => [entry.id, entry]));
const codec = { id: 'C', type: 'codec', mimeType: 'video/VP8' };

test('a received track: rates since the last call, totals since the start', () => {
  const memory = new Map();
  const ids = new Map([['subscribe 3', 'TR']]);
  const at = (now, bytesReceived, packetsReceived, packetsLost, framesDecoded) =>
    digest({ publish: null, subscribe: report(codec, { id: 'I', type: 'inbound-rtp', kind: 'video', mid: '3', codecId: 'C', bytesReceived, packetsReceived, packetsLost, framesDecoded, frameWidth: 640, frameHeight: 360 }) }, ids, memory, now).tracks.TR;
  assert.equal(at(10, 1000, 100, 0, 50).bitrate, 0);
  const track = at(12, 251_000, 190, 10, 110);
  assert.deepEqual([track.bitrate, track.loss, track.fps, track.frames, track.codec, track.width], [1_000_000, 0.1, 30, 110, 'VP8', 640]);
});

test('a published track sums its layers, smallest first', () => {
  const memory = new Map();
  const ids = new Map([['publish 0', 'TR']]);
  const layer = (rid, frameWidth, bytesSent) => ({ id: rid, type: 'outbound-rtp', kind: 'video', mid: '0', rid, frameWidth, frameHeight: frameWidth / 2, bytesSent, codecId: 'C' });
  const look = (now, factor) => digest({ publish: report(codec, layer('f', 1280, 100_000 * factor), layer('q', 320, 10_000 * factor)), subscribe: null }, ids, memory, now).tracks.TR;
  look(0, 0);
  const track = look(1, 1);
  assert.deepEqual(track.layers.map(({ rid, bitrate }) => [rid, bitrate]), [['q', 80_000], ['f', 800_000]]);
  assert.equal(track.bitrate, 880_000);
  assert.equal(track.width, 1280);
});

test('the selected candidate pair is that of the transport', () => {
  const transport = { id: 'T', type: 'transport', dtlsState: 'connected', selectedCandidatePairId: 'P' };
  const pair = { id: 'P', type: 'candidate-pair', currentRoundTripTime: 0.02, localCandidateId: 'L' };
  const { subscribe } = digest({ publish: null, subscribe: report(transport, pair, { id: 'L', type: 'local-candidate', protocol: 'udp' }) }, new Map(), new Map(), 1);
  assert.deepEqual([subscribe.state, subscribe.rtt, subscribe.protocol], ['connected', 0.02, 'udp']);
});

for (const [rms, expected] of [[0, 0], [0.001, 0], [1, 1], [0.25, 1], [0.0158, 0.5]]) {
  test(`a level of ${rms} is ${expected} for the eye`, () => assert.ok(Math.abs(loudness(rms) - expected) < 0.01));
}
