/**
 * The dashboard's budget: 16 streams of 768x432 at 15 fps through the real broker, relay and gateway into headless
 * Chromium. Run it on a quiet machine with `npm run bench`; it prints figures. EI_BENCH_SECONDS and EI_BENCH_STREAMS
 * change the load. EI_BENCH_SOAK=1 watches the heap for five minutes instead. EI_BENCH_STRICT=1 fails if the budget is
 * missed.
 */
import { join } from 'node:path'
import { existsSync } from 'node:fs'

import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'

import { startBrowser } from './browser'
import { collectTotals, quantile, takeTotals, type Totals } from './painter_totals'
import { cpuShares, processTree } from './processes'
import { live } from './suite'
import { Publisher, repository, System } from './system'
import { checkTiles } from './tile_pixels'

const soak = process.env.EI_BENCH_SOAK === '1'
const seconds = Number(process.env.EI_BENCH_SECONDS ?? (soak ? '300' : '20'))
const streamCount = Number(process.env.EI_BENCH_STREAMS ?? '16')
const strict = process.env.EI_BENCH_STRICT === '1'
const PUBLISH_MS = 15 // of the test publisher: queue and inference, before the publish
const clip = join(process.env.EI_TEST_VIDEOS ?? join(repository, '../shared/videos'), 'car-detection.mp4')

interface Figures {
  seconds: number
  published: number
  totals: Totals
  cpu: [kind: string, cores: number][]
  heapBefore: number
  heapAfter: number
}

/** Watches an open page with all its tiles live for `seconds`. */
async function measure(page: Page, publisher: Publisher): Promise<Figures> {
  const session = await page.context().newCDPSession(page)
  const heap = async (): Promise<number> => {
    await session.send('HeapProfiler.collectGarbage')
    return ((await session.send('Runtime.getHeapUsage')) as { usedSize: number }).usedSize
  }
  const heapBefore = await heap()
  const cpuBefore = processTree(process.pid)
  const before = await publisher.counts()
  await takeTotals(page)
  const began = Date.now()
  await page.waitForTimeout(seconds * 1000)
  const totals = await takeTotals(page)
  const after = await publisher.counts()
  const took = (Date.now() - began) / 1000
  return {
    seconds: took,
    published: Object.keys(after).reduce((sum, id) => sum + after[id]! - before[id]!, 0),
    totals,
    cpu: cpuShares(cpuBefore, processTree(process.pid), took),
    heapBefore,
    heapAfter: await heap(),
  }
}

const paintedShare = ({ totals, published }: Figures): number => totals.painted / published
const publishToPaint = ({ totals }: Figures): number[] => totals.latencies.map((latency) => latency - PUBLISH_MS)

function lines(figures: Figures): string[] {
  const { totals, published, heapBefore, heapAfter } = figures
  const rate = (count: number): string => (count / figures.seconds).toFixed(1)
  const latency = (share: number): string => `${quantile(publishToPaint(figures), share).toFixed(0)} ms`
  const longest = totals.longTasks.length ? ` (longest ${Math.max(...totals.longTasks).toFixed(0)} ms)` : ''
  const cores = figures.cpu.filter(([, share]) => share >= 0.005).map(([kind, share]) => `${kind} ${share.toFixed(2)}`)
  return [
    `published ${rate(published)} frames/s, received ${rate(totals.received)}, painted ${rate(totals.painted)} ` +
      `(${(100 * paintedShare(figures)).toFixed(1)} %), superseded ${rate(totals.superseded)}`,
    `publish to paint: p50 ${latency(0.5)}, p95 ${latency(0.95)}, p99 ${latency(0.99)}`,
    `main thread: ${totals.longTasks.length} tasks over 50 ms${longest}`,
    `heap: ${(heapBefore / 1e6).toFixed(1)} MB before, ${(heapAfter / 1e6).toFixed(1)} MB after`,
    `cores: ${cores.join(', ')}`,
  ]
}

function budget(figures: Figures): [goal: string, met: boolean][] {
  if (soak) return [['the heap does not grow', figures.heapAfter < figures.heapBefore * 1.3 + 2e6]]
  return [
    ['at least 90 % painted', paintedShare(figures) >= 0.9],
    ['under 250 ms at p95', quantile(publishToPaint(figures), 0.95) < 250],
    ['no main-thread task over 50 ms', figures.totals.longTasks.length === 0],
  ]
}

test(`${streamCount} streams for ${seconds} s`, { timeout: (seconds + 120) * 1000 }, async () => {
  const system = await System.start()
  const browser = await startBrowser({ whole: true })
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
    await live(page, streamCount)
    await page.waitForTimeout(4000)
    const figures = await measure(page, publisher)
    const boxes = await checkTiles(page, 'article.tile', 4)
    await publisher.stop()
    const goals = budget(figures)
    console.log(
      [
        ...lines(figures),
        `boxes checked on ${boxes.checked} shapes, largest deviation ${boxes.worst.toFixed(1)} px`,
        ...goals.map(([goal, met]) => `${met ? 'met' : 'MISSED'}: ${goal}`),
      ].join('\n'),
    )
    expect(complaints).toEqual([])
    expect(boxes.checked).toBeGreaterThan(0)
    expect(boxes.worst).toBeLessThanOrEqual(3)
    // Times depend on the machine's other load, so they fail the test only on request.
    if (strict || soak) expect(goals.filter(([, met]) => !met)).toEqual([])
  } finally {
    await browser.close()
    await system.stop()
  }
})
