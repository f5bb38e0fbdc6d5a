/**
 * Why a server does not open a WebSocket. A browser reports only that it failed, so the same address is requested by HTTP: a
 * server that is full or about to stop answers 503 with the reason. A server that answers that it expects a WebSocket can be
 * reached: something on the path does not let WebSockets through.
 * @module
 */

/** Code of a connection over which HTTP works and WebSockets do not. */
export const BLOCKED = 'websocket_blocked';
const UNAVAILABLE = 503;
const EXPECTS_WEBSOCKET = new Set([400, 426]);
const DEADLINE_MS = 10_000;

/**
 * @param {string} url of the WebSocket
 * @param {typeof globalThis.fetch} [fetch]
 * @returns {Promise<{code: string, message: string} | null>} null: it did not say
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
    // No network, another server's page of an error, or a server of another origin that does not know this page.
    return null;
  }
}
