/**
 * Checks before the lobby whether the browser supports calls.
 * @module
 */

/** @typedef {'' | 'no_webrtc' | 'webrtc_blocked' | 'no_websocket'} Obstacle empty: none */

/** Oldest supported versions. */
export const BROWSERS = /** @type {ReadonlyArray<[string, string]>} */ ([
  ['Chrome, Edge, Brave or Opera', 'from 2023 or later, on desktop or Android'],
  ['Firefox', '113 or later, on desktop or Android'],
  ['Safari', '16.4 or later, on Mac, iPhone or iPad'],
]);

/**
 * Creates and closes a peer connection: extensions and policies that block WebRTC often keep the constructor but make
 * it throw.
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
