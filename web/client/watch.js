/**
 * Watches a peer connection and requests ICE restarts: at once when it has failed, after three seconds when it is
 * disconnected (short gaps recover by themselves), then with growing intervals until it is connected.
 * @module
 */

import { wait } from './backoff.js';

const PATIENCE_MS = 3000;

/**
 * @param {RTCPeerConnection} connection
 * @param {() => void} restart
 * @param {(state: RTCPeerConnectionState) => void} changed
 * @returns {() => void} stops watching
 */
export function watch(connection, restart, changed) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let attempt = 0;
  const again = () => {
    restart();
    timer = setTimeout(again, PATIENCE_MS + wait(attempt++, Math.random(), { first: 1000, most: 15_000 }));
  };
  const look = () => {
    const state = connection.connectionState;
    clearTimeout(timer);
    if (state === 'connected') attempt = 0;
    else if (state === 'failed') again();
    else if (state === 'disconnected' || state === 'connecting') timer = setTimeout(again, PATIENCE_MS * (state === 'connecting' ? 4 : 1));
    changed(state);
  };
  connection.addEventListener('connectionstatechange', look);
  return () => {
    clearTimeout(timer);
    connection.removeEventListener('connectionstatechange', look);
  };
}
