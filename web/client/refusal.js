/**
 * Finds out why a WebSocket did not open. Browsers report only the failure, so the same address is requested over HTTP:
 * a full or draining server answers 503 with the reason. If the server answers that it expects a WebSocket, it is
 * reachable, and something on the path blocks WebSockets.
 * @module
 */

/** Error code: HTTP works, WebSockets do not. */
export const BLOCKED = 'websocket_blocked';
const UNAVAILABLE = 503;
const EXPECTS_WEBSOCKET = new Set([400, 426]);
const DEADLINE_MS = 10_000;

/**
 * @param {string} url of the WebSocket
 * @param {typeof globalThis.fetch} [fetch]
 * @returns {Promise<{code: string, message: string} | null>} null: no reason available
 */
export async function refusal(url, fetch = (...request) => globalThis.fetch(...request)) {
  try {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const answer = await fetch(url.replace(/^ws/, 'http'), { cache: 'no-store', credentials: 'same-origin', signal });
    if (EXPECTS_WEBSOCKET.has(answer.status)) return { code: BLOCKED, message: '' };
    if (answer.status !== UNAVAILABLE) return null;
    const { code, message } = await answer.json();
    return typeof code === 'string' ? { code, message: String(message ?? '') } : null;
  } catch {
    // No network, an error page of another server, or a server of another origin that rejects this page.
    return null;
  }
}
