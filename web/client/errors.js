/**
 * What can go wrong between this client and the server, as types.
 * @module
 */

/** The server refused a request: `code` is for programs, `message` for people. */
export class RequestError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {number} [retryAfter] seconds after which the same request can succeed; 0: not known
   */
  constructor(code, message, retryAfter = 0) {
    super(message);
    this.name = 'RequestError';
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** The socket went away before the answer came; whether the server acted on the request is unknown. */
export class ConnectionLost extends Error {
  constructor(message = 'The connection to the server was lost.') {
    super(message);
    this.name = 'ConnectionLost';
    this.code = 'connection_lost';
  }
}
