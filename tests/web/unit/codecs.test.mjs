import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodings, layerSpecs, ordered } from '../../../web/client/codecs.js';
import { withOpus } from '../../../web/client/sdp.js';

for (const [name, args, expected] of [
  ['a camera of 720p has three layers', ['camera', 1280, 720, 'vp8'], [['q', 4, 150_000, 'L1T3'], ['h', 2, 500_000, 'L1T3'], ['f', 1, 1_700_000, 'L1T3']]],
  ['a small one has two', ['camera', 640, 360, 'vp8'], [['h', 2, 177_000, 'L1T3'], ['f', 1, 601_000, 'L1T3']]],
  ['a tiny one has one', ['camera', 320, 180, 'vp8'], [['f', 1, 213_000, 'L1T3']]],
  ['one of unknown size has three', ['camera', 0, 0, 'vp8'], [['q', 4, 150_000, 'L1T3'], ['h', 2, 500_000, 'L1T3'], ['f', 1, 1_700_000, 'L1T3']]],
  ['VP9 says that its layers are simulcast', ['camera', 1280, 720, 'vp9'], [['q', 4, 150_000, 'L1T1'], ['h', 2, 500_000, 'L1T1'], ['f', 1, 1_700_000, 'L1T1']]],
  ['H.264 says nothing', ['camera', 1280, 720, 'h264'], [['q', 4, 150_000, undefined], ['h', 2, 500_000, undefined], ['f', 1, 1_700_000, undefined]]],
  ['a screen has two', ['screen_share', 1920, 1080, 'vp8'], [['h', 2, 500_000, 'L1T3'], ['f', 1, 2_500_000, 'L1T3']]],
  ['without simulcast there is one, and no rid', ['camera', 1280, 720, 'vp8', false], [[undefined, 1, 1_700_000, 'L1T3']]],
]) {
  test(name, () => {
    const list = encodings(...args).map((e) => [e.rid, e.scaleResolutionDownBy, e.maxBitrate, e.scalabilityMode]);
    assert.deepEqual(list, expected);
  });
}

test('layer descriptions contain the size of each layer', () => {
  const specs = layerSpecs(encodings('camera', 1280, 720, 'vp8'), 1280, 720);
  assert.deepEqual(specs.map(({ rid, width, height }) => [rid, width, height]), [['q', 320, 180], ['h', 640, 360], ['f', 1280, 720]]);
});

test('wanted codecs come first, the others keep their order', () => {
  const codecs = ['video/VP8', 'video/rtx', 'video/VP9', 'video/AV1'].map((mimeType) => ({ mimeType, clockRate: 90_000 }));
  assert.deepEqual(ordered(codecs, ['av1', 'vp9']).map(({ mimeType }) => mimeType), ['video/AV1', 'video/VP9', 'video/VP8', 'video/rtx']);
});

const SDP = ['v=0', 's=-', 'm=audio 9 X 111', 'a=mid:0', 'a=rtpmap:111 opus/48000/2', 'a=fmtp:111 minptime=10;useinbandfec=0', 'm=audio 9 X 109', 'a=mid:1', 'a=rtpmap:109 opus/48000/2', 'm=video 9 X 96', 'a=mid:2', ''].join('\r\n');

test('Opus parameters are set per m-line', () => {
  const sdp = withOpus(SDP, (mid) => (mid === '0' ? { useinbandfec: 1, usedtx: 1 } : { stereo: 1 }));
  assert.match(sdp, /a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1\r\n/);
  assert.match(sdp, /a=rtpmap:109 opus\/48000\/2\r\na=fmtp:109 stereo=1\r\n/);
  assert.ok(sdp.startsWith('v=0\r\ns=-\r\nm=audio') && sdp.endsWith('a=mid:2\r\n'));
});

test('without parameters the SDP is unchanged', () => assert.equal(withOpus(SDP, () => ({})), SDP));
