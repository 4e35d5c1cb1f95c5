/**
 * Pause before the next try, ms: doubles from `firstMs` to `mostMs`, and anywhere between half and all of that, so
 * that a hundred viewers do not come back in the same instant.
 */
export function backoffMs(
  failures: number,
  firstMs: number,
  mostMs: number,
  random: () => number = Math.random,
): number {
  const whole = Math.min(mostMs, firstMs * 2 ** Math.min(failures, 20))
  return whole * (0.5 + 0.5 * random())
}
