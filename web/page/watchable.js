/**
 * Checks whether a room has a live stream or a replay, for browsers that cannot join the meeting.
 * @module
 */

import { Access, Refused } from '../watch/access.js';

/** @typedef {'' | 'live' | 'replay'} Watchable */

const POLL_MS = 5000;

/**
 * Polls at once and then every few seconds, because a stream may start later.
 * @param {string} room
 * @param {string} token of the invitation; empty: none
 * @param {(found: Watchable) => void} report
 * @returns {() => void} stops
 */
export function watchable(room, token, report) {
  const access = new Access(room, token);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let stopped = false;
  const ask = async () => {
    try {
      const { state, replay } = await access.state();
      if (!stopped) report(state === 'live' ? 'live' : state === 'ended' && replay ? 'replay' : '');
    } catch (error) {
      // This token never allows watching.
      if (error instanceof Refused) return;
    }
    if (!stopped) timer = setTimeout(ask, POLL_MS);
  };
  ask();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
