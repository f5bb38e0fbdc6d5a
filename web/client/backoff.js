/**
 * Exponential back-off with jitter for reconnecting, so that the clients of a restarted server do not all return at
 * once.
 * @module
 */

/**
 * Milliseconds before attempt `attempt` (0 is the first one after the loss). Half is fixed, half is random.
 * @param {number} attempt
 * @param {number} chance 0 ≤ chance < 1
 * @param {{first?: number, factor?: number, most?: number}} [limits]
 */
export function wait(attempt, chance, { first = 200, factor = 2, most = 5000 } = {}) {
  const whole = Math.min(most, first * factor ** attempt);
  return Math.round(whole / 2 + (whole / 2) * chance);
}
