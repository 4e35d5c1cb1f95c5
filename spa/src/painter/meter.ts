/** Rates and mean times of one tile. Pure; times are monotonic ms. */

const WINDOW_MS = 2000

/** Events per second over the last two seconds. */
export class RateMeter {
  private times: number[] = []
  private since: number | null = null

  add(nowMs: number): void {
    this.since ??= nowMs
    this.times.push(nowMs)
    this.trim(nowMs)
  }

  rate(nowMs: number): number {
    this.trim(nowMs)
    if (this.since === null || !this.times.length) return 0
    // Just after the start the window is shorter, and dividing by all of it would give too low a rate.
    const window = Math.min(WINDOW_MS, Math.max(500, nowMs - this.since))
    return (this.times.length * 1000) / window
  }

  reset(): void {
    this.times = []
    this.since = null
  }

  private trim(nowMs: number): void {
    let old = 0
    while (old < this.times.length && this.times[old]! < nowMs - WINDOW_MS) old += 1
    if (old) this.times.splice(0, old)
  }
}

/** Mean of the values since the last `take`. */
export class MeanMeter {
  private sum = 0
  private count = 0

  add(value: number): void {
    this.sum += value
    this.count += 1
  }

  take(): number | null {
    const mean = this.count ? this.sum / this.count : null
    this.sum = 0
    this.count = 0
    return mean
  }
}
