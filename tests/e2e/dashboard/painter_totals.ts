/** Figures of the page's painter and main thread, collected on the page. */
import type { BrowserContext, Page } from 'playwright-core'

export interface Totals {
  received: number
  painted: number
  superseded: number
  latencies: number[]
  longTasks: number[]
}

/** Must be called before the page is opened. */
export async function collectTotals(context: BrowserContext): Promise<void> {
  await context.addInitScript(() => {
    const kept = { received: 0, painted: 0, superseded: 0, latencies: [] as number[], longTasks: [] as number[] }
    Object.assign(window, { eiTotals: kept })
    addEventListener('ei:painter', (event) => {
      const { received, painted, superseded, latencies } = (event as CustomEvent<Totals>).detail
      kept.received += received
      kept.painted += painted
      kept.superseded += superseded
      kept.latencies.push(...latencies)
    })
    new PerformanceObserver((list) => kept.longTasks.push(...list.getEntries().map((entry) => entry.duration))).observe(
      { entryTypes: ['longtask'] },
    )
  })
}

/** The figures since the last call. */
export function takeTotals(page: Page): Promise<Totals> {
  return page.evaluate(() => {
    const kept = (window as unknown as { eiTotals: Totals }).eiTotals
    const taken = structuredClone(kept)
    Object.assign(kept, { received: 0, painted: 0, superseded: 0, latencies: [], longTasks: [] })
    return taken
  })
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}
