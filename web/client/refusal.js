/**
 * Why a server does not open a WebSocket. A browser tells its page nothing but that it failed, so the same address is asked
 * by HTTP: a server that is full or about to stop answers 503 with the reason.
 * @module
 */

const UNAVAILABLE = 503;

/**
 * @param {string} url of the WebSocket
 * @param {typeof globalThis.fetch} [fetch]
 * @returns {Promise<{code: string, message: string} | null>} null: it did not say
 */
export async function refusal(url, fetch = (...request) => globalThis.fetch(...request)) {
  try {
    const answer = await fetch(url.replace(/^ws/, 'http'), { cache: 'no-store', credentials: 'same-origin' });
    if (answer.status !== UNAVAILABLE) return null;
    const { code, message } = await answer.json();
    return typeof code === 'string' ? { code, message: String(message ?? '') } : null;
  } catch {
    // No network, another server's page of an error, or a server of another origin that does not know this page.
    return null;
  }
}
