import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brief, withOpus, withStereo } from '../../../web/client/sdp.js';

const TRANSPORT = ['a=ice-ufrag:4ap9', 'a=ice-pwd:c44gz6uvpzNMCKvXLIuIOpaf', 'a=fingerprint:sha-256 73:9D', 'a=setup:active'];

/** @param {string[]} lines */
const text = (...lines) => lines.map((line) => `${line}\r\n`).join('');
/**
 * @param {string} mid
 * @param {string[]} extensions
 */
const audio = (mid, ...extensions) => [
  'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'c=IN IP4 0.0.0.0', 'a=rtcp:9 IN IP4 0.0.0.0', ...TRANSPORT, `a=mid:${mid}`,
  ...extensions, 'a=recvonly', 'a=rtcp-mux', 'a=rtcp-rsize', 'a=rtpmap:111 opus/48000/2', 'a=rtcp-fb:111 transport-cc',
  'a=fmtp:111 minptime=10;useinbandfec=1',
];
const HEAD = ['v=0', 'o=- 1 2 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 00 01'];

test('common lines of an answer appear once', () => {
  const sdp = text(...HEAD, ...audio('00', 'a=extmap:1 mid', 'a=extmap:3 level'), ...audio('01', 'a=extmap:1 mid', 'a=extmap:5 time'));
  assert.equal(
    brief(sdp),
    `${[
      ...HEAD, 'a=extmap:1 mid',
      'm=audio 9 UDP/TLS/RTP/SAVPF 111', ...TRANSPORT, 'a=mid:00', 'a=extmap:3 level', 'a=recvonly',
      'a=rtpmap:111 opus/48000/2',
      'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=mid:01', 'a=extmap:5 time', 'a=recvonly',
      'a=rtpmap:111 opus/48000/2',
    ].join('\n')}\n`,
  );
});

test('the transport is taken from the first active m-line', () => {
  const rejected = ['m=audio 0 UDP/TLS/RTP/SAVPF 111', 'a=mid:00', 'a=inactive'];
  const short = brief(text(...HEAD, ...rejected, ...audio('01', 'a=extmap:1 mid')));
  assert.ok(short.indexOf('a=ice-ufrag') > short.indexOf('m=audio 9'));
  assert.ok(short.includes('a=extmap:1 mid'));
});

test('an answer with many m-lines shrinks to a quarter', () => {
  const mids = [...Array(60).keys()].map(String);
  const sdp = text(...HEAD, ...mids.flatMap((mid) => audio(mid, 'a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid')));
  assert.ok(brief(sdp).length < sdp.length / 2);
});

test('an empty SDP stays empty', () => {
  assert.equal(brief('').trim(), '');
});

test('missing Opus parameters are added', () => {
  const sdp = text(...HEAD, 'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=mid:00', 'a=rtpmap:111 opus/48000/2');
  assert.ok(withOpus(sdp, () => ({ usedtx: 1 })).includes('a=fmtp:111 usedtx=1'));
});

test('stereo is requested where the offer declares it', () => {
  const said = (mid, ...parameters) =>
    text(...HEAD, ...audio(mid)).replace('minptime=10;useinbandfec=1', parameters.join(';'));
  const answer = text(...HEAD, ...audio('00'));
  for (const stereo of [said('00', 'minptime=10', 'sprop-stereo=1'), said('00', 'sprop-stereo=1'), said('00', 'sprop-stereo=1', 'stereo=1')]) {
    assert.match(withStereo(answer, stereo), /^a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r$/m);
  }
  for (const mono of [said('00', 'minptime=10'), said('00', 'sprop-stereo=0'), said('01', 'sprop-stereo=1'), said('00', 'xsprop-stereo=1')]) {
    assert.equal(withStereo(answer, mono), answer);
  }
});
