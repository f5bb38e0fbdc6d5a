/**
 * What can go wrong between this client and the server, as types.
 * @module
 */

/** The server refused a request: `code` is for programs, `message` for people. */
export class RequestError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = 'RequestError';
    this.code = code;
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
