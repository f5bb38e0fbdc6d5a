/**
 * How long to wait before the next attempt to connect: exponential, with jitter, so that a thousand clients whose server
 * restarted do not come back in the same instant.
 * @module
 */

/**
 * Milliseconds before attempt number `attempt` (0 is the first one after the loss). Half is fixed, half is chance.
 * @param {number} attempt
 * @param {number} chance 0 ≤ chance < 1
 * @param {{first?: number, factor?: number, most?: number}} [limits]
 */
export function wait(attempt, chance, { first = 200, factor = 2, most = 5000 } = {}) {
  const whole = Math.min(most, first * factor ** attempt);
  return Math.round(whole / 2 + (whole / 2) * chance);
}
