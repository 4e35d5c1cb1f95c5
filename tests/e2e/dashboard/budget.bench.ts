/**
 * The dashboard's budget: 16 streams of 768x432 at 15 fps through the real broker, relay and gateway into headless
 * Chromium. Prints figures; run it on a quiet machine with `npm run bench`. EI_BENCH_SECONDS and EI_BENCH_STREAMS
 * change the load, EI_BENCH_SOAK=1 watches the heap for five minutes instead, EI_BENCH_STRICT=1 fails when the budget
 * is missed.
 */
import { join } from 'node:path'
import { existsSync } from 'node:fs'

import { expect, test } from 'vitest'

import { startBrowser } from './browser'
import { checkTiles } from './tile_pixels'
import { collectTotals, quantile, takeTotals } from './painter_totals'
import { cpuShares, processTree } from './processes'
import { Publisher, repository, System, waitFor } from './system'

const soak = process.env.EI_BENCH_SOAK === '1'
const seconds = Number(process.env.EI_BENCH_SECONDS ?? (soak ? '300' : '20'))
const streamCount = Number(process.env.EI_BENCH_STREAMS ?? '16')
const strict = process.env.EI_BENCH_STRICT === '1'
const PUBLISH_MS = 15 // of the test publisher: queue and inference, before the publish
const clip = join(process.env.EI_TEST_VIDEOS ?? join(repository, '../shared/videos'), 'car-detection.mp4')

test(`${streamCount} streams for ${seconds} s`, { timeout: (seconds + 120) * 1000 }, async () => {
  const system = await System.start()
  const browser = await startBrowser()
  try {
    const streams = Array.from({ length: streamCount }, (_, index) => `cam-${index + 1}:people`)
    const publisher = await Publisher.start(system.brokerUrl, streams, existsSync(clip) ? ['--clip', clip] : [])
    const context = await browser.newContext({ viewport: { width: 1920, height: 1080 } })
    await collectTotals(context)
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))
    await page.goto(`${system.url}/${process.env.EI_BENCH_QUERY ?? ''}`)
    await waitFor(
      'all tiles live',
      async () => (await page.locator('[data-state="live"]').count()) === streamCount,
      30_000,
    )
    await page.waitForTimeout(4000)
    const session = await context.newCDPSession(page)
    const heap = async (): Promise<number> => {
      await session.send('HeapProfiler.collectGarbage')
      return ((await session.send('Runtime.getHeapUsage')) as { usedSize: number }).usedSize
    }
    const heapBefore = await heap()
    const cpuBefore = processTree(process.pid)
    const published = await publisher.counts()
    await takeTotals(page)
    const began = Date.now()
    await page.waitForTimeout(seconds * 1000)
    const totals = await takeTotals(page)
    const sent = await publisher.counts()
    const took = (Date.now() - began) / 1000
    const cpu = cpuShares(cpuBefore, processTree(process.pid), took)
    const heapAfter = await heap()
    const publishedTotal = Object.keys(sent).reduce((sum, id) => sum + sent[id]! - published[id]!, 0)
    const toPaint = totals.latencies.map((latency) => latency - PUBLISH_MS)
    const boxes = await checkTiles(page, 'article.tile', 4)
    console.log(
      [
        `published ${(publishedTotal / took).toFixed(1)} frames/s, received ${(totals.received / took).toFixed(1)}, painted ${(totals.painted / took).toFixed(1)} (${((100 * totals.painted) / publishedTotal).toFixed(1)} %), superseded ${(totals.superseded / took).toFixed(1)}`,
        `publish to paint: p50 ${quantile(toPaint, 0.5).toFixed(0)} ms, p95 ${quantile(toPaint, 0.95).toFixed(0)} ms, p99 ${quantile(toPaint, 0.99).toFixed(0)} ms`,
        `main thread: ${totals.longTasks.length} tasks over 50 ms${totals.longTasks.length ? ` (longest ${Math.max(...totals.longTasks).toFixed(0)} ms)` : ''}`,
        `heap: ${(heapBefore / 1e6).toFixed(1)} MB before, ${(heapAfter / 1e6).toFixed(1)} MB after`,
        `boxes checked on ${boxes.checked} shapes, largest deviation ${boxes.worst.toFixed(1)} px`,
        `cores: ${cpu
          .filter(([, share]) => share >= 0.005)
          .map(([kind, share]) => `${kind} ${share.toFixed(2)}`)
          .join(', ')}`,
      ].join('\n'),
    )
    await publisher.stop()
    expect(complaints).toEqual([])
    expect(boxes.checked).toBeGreaterThan(0)
    expect(boxes.worst).toBeLessThanOrEqual(3)
    const budget: [string, boolean][] = soak
      ? [['the heap does not grow', heapAfter < heapBefore * 1.3 + 2e6]]
      : [
          ['at least 90 % painted', totals.painted / publishedTotal >= 0.9],
          ['under 250 ms at p95', quantile(toPaint, 0.95) < 250],
          ['no main-thread task over 50 ms', totals.longTasks.length === 0],
        ]
    console.log(budget.map(([what, met]) => `${met ? 'met' : 'MISSED'}: ${what}`).join('\n'))
    // Times depend on who else uses the machine: they are figures, and a gate only where that is asked for.
    if (strict || soak) expect(budget.filter(([, met]) => !met)).toEqual([])
  } finally {
    await browser.close()
    await system.stop()
  }
})
