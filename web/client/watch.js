/**
 * Notices that a peer connection is no longer connected and asks for an ICE restart: at once when it failed, after three
 * seconds when it is only disconnected (a short gap heals by itself), and again, more and more slowly, until it is back.
 * @module
 */

import { wait } from './backoff.js';

const PATIENCE_MS = 3000;

/**
 * @param {RTCPeerConnection} connection
 * @param {() => void} restart
 * @param {(state: RTCPeerConnectionState) => void} changed
 * @returns {() => void} ends the watching
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
