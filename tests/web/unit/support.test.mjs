import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { obstacle } from '../../../web/page/support.js';

class Connection {
  addTransceiver() {}
  setLocalDescription() {}
  close() {
    this.closed = true;
  }
}
const closed = [];
class Recorded extends Connection {
  close() {
    closed.push(this);
  }
}
const complete = { WebSocket: class {}, MediaStream: class {}, RTCPeerConnection: Recorded };

const CASES = [
  ['complete', complete, ''],
  ['without WebRTC (WebKitGTK, Lockdown Mode)', { ...complete, RTCPeerConnection: undefined }, 'no_webrtc'],
  ['with the constructor set to null by an extension', { ...complete, RTCPeerConnection: null }, 'no_webrtc'],
  ['without MediaStream', { ...complete, MediaStream: undefined }, 'no_webrtc'],
  ['with a WebRTC of 2016', { ...complete, RTCPeerConnection: class { close() {} } }, 'no_webrtc'],
  ['that blocks peer connections', { ...complete, RTCPeerConnection: class { constructor() { throw new DOMException('', 'NotAllowedError'); } } }, 'webrtc_blocked'],
  ['without WebSocket', { ...complete, WebSocket: undefined }, 'no_websocket'],
];

for (const [name, scope, expected] of CASES) {
  test(`missing browser features: ${name}`, () => assert.equal(obstacle(scope), expected));
}

test('the probe leaves no open connection', () => {
  closed.length = 0;
  obstacle(complete);
  assert.equal(closed.length, 1);
});

test('the report of outdated browsers is ECMAScript 5', () => {
  const source = readFileSync(new URL('../../../web/page/outdated.js', import.meta.url), 'utf8').replace(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, '');
  assert.doesNotMatch(source, /=>|`|\b(?:const|let|class|import|export|async|await)\b|\?\.|\?\?|\.\.\./);
});
