/**
 * Delay before the next attempt, ms. It doubles from `firstMs` up to `maximumMs`. A random factor between 0.5 and 1
 * keeps a hundred viewers from reconnecting in the same instant.
 */
export function backoffMs(
  failures: number,
  firstMs: number,
  maximumMs: number,
  random: () => number = Math.random,
): number {
  const whole = Math.min(maximumMs, firstMs * 2 ** Math.min(failures, 20))
  return whole * (0.5 + 0.5 * random())
}
