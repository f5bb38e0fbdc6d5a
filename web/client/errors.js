/**
 * Errors of the connection to the server.
 * @module
 */

/** The server rejected a request. `code` is for programs, `message` for people. */
export class RequestError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {number} [retryAfter] seconds after which the request can succeed; 0: unknown
   */
  constructor(code, message, retryAfter = 0) {
    super(message);
    this.name = 'RequestError';
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** The socket closed before the answer. It is unknown whether the server processed the request. */
export class ConnectionLost extends Error {
  constructor(message = 'Connection to the server lost.') {
    super(message);
    this.name = 'ConnectionLost';
    this.code = 'connection_lost';
  }
}
