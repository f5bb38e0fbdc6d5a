/**
 * Checks before the lobby whether this browser can make calls.
 * @module
 */

/** @typedef {'' | 'no_webrtc' | 'webrtc_blocked' | 'no_websocket'} Obstacle empty: none */

/** Oldest versions with everything that the pages use. */
export const BROWSERS = /** @type {ReadonlyArray<[string, string]>} */ ([
  ['Chrome, Edge, Brave or Opera', 'from 2023 on, on a computer or on Android'],
  ['Firefox', '113 or newer, on a computer or on Android'],
  ['Safari', '16.4 or newer, on a Mac, iPhone or iPad'],
]);

/**
 * Creates and closes one peer connection: extensions and policies that block WebRTC often leave the constructor in place and
 * make it throw.
 * @param {{RTCPeerConnection?: any, RTCRtpSender?: any, MediaStream?: any, WebSocket?: any}} [scope]
 * @returns {Obstacle}
 */
export function obstacle(scope = globalThis) {
  if (typeof scope.WebSocket !== 'function') return 'no_websocket';
  if (typeof scope.RTCPeerConnection !== 'function' || typeof scope.MediaStream !== 'function') return 'no_webrtc';
  try {
    const connection = new scope.RTCPeerConnection();
    const complete = typeof connection.addTransceiver === 'function' && typeof connection.setLocalDescription === 'function';
    connection.close();
    return complete ? '' : 'no_webrtc';
  } catch {
    return 'webrtc_blocked';
  }
}
