/** The streams view against real services: pictures, boxes, filters, sight, keyboard, bad input. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { openPage, startBrowser } from './browser'
import { Publisher, System, waitFor } from './system'
import { checkTiles, deviation, shapesOf } from './tile_pixels'

const STREAMS = ['gate-1:people', 'gate-1:people-int8', 'gate-2:people', 'hall:car', 'yard-2:car', 'yard-10:car']
let system: System
let browser: Browser
let publisher: Publisher | undefined

beforeAll(async () => {
  ;[system, browser] = await Promise.all([System.start(), startBrowser()])
})
afterAll(async () => {
  await browser?.close()
  await publisher?.stop()
  await system?.stop()
})

afterEach(async () => {
  for (const context of browser.contexts()) await context.close()
})

async function publish(): Promise<void> {
  publisher ??= await Publisher.start(system.brokerUrl, STREAMS)
}

const tiles = (page: Page) => page.locator('article.tile')
const names = (page: Page) => page.locator('article.tile .name').allInnerTexts()
const tile = (page: Page, id: string) => page.locator(`article.tile[data-stream="${id}:inferred"]`)
const live = (page: Page, count: number) =>
  waitFor(`${count} live tiles`, async () => (await page.locator('[data-state="live"]').count()) === count)

describe('without a stream', () => {
  test('the page says how to attach one, and shows it without a reload', async () => {
    const { page, complaints } = await openPage(browser, system.url)
    await page.getByRole('heading', { name: 'No stream yet' }).waitFor()
    expect(await page.locator('code', { hasText: 'ei-camera-stream-service' }).count()).toBeGreaterThan(0)
    await publish()
    await live(page, STREAMS.length)
    expect(complaints).toEqual([])
  })
})

describe('with streams', () => {
  beforeAll(publish)

  test('tiles show moving pictures, with each box where the result says', async () => {
    const { page, complaints } = await openPage(browser, system.url)
    await live(page, STREAMS.length)
    const canvas = tile(page, 'gate-1:people').locator('canvas')
    const before = await shapesOf(page, canvas)
    await waitFor(
      'a shape at another place',
      async () => JSON.stringify(await shapesOf(page, canvas)) !== JSON.stringify(before),
    )
    const seen = await checkTiles(page, 'article.tile', 3)
    expect(seen.checked).toBeGreaterThanOrEqual(8)
    expect(seen.worst).toBeLessThanOrEqual(2)
    // Under each: name, type, precision, rate, latency, count.
    const text = await tile(page, 'gate-1:people-int8').innerText()
    expect(text).toMatch(/gate-1/)
    expect(text).toMatch(/people-int8/)
    expect(text).toMatch(/INT8/)
    expect(text).toMatch(/\d+ fps · \d+ ms/)
    expect(text).toMatch(/[23] detections/)
    const latency = Number.parseInt(await tile(page, 'gate-1:people').locator('[data-is="latency"]').innerText(), 10)
    expect(latency).toBeGreaterThanOrEqual(15)
    expect(complaints).toEqual([])
  })

  test.each([1, 2])('boxes lie on the shapes at their full size, at a pixel ratio of %d', async (deviceScaleFactor) => {
    const { page } = await openPage(browser, `${system.url}/stream/gate-2:people:inferred`, { deviceScaleFactor })
    await live(page, 1)
    const canvas = page.locator('article.stage canvas')
    // Crisp: the canvas has a pixel for each of the screen's.
    const { width } = (await canvas.boundingBox())!
    await waitFor('a canvas in device pixels', () =>
      canvas.evaluate(
        (element, wanted) => Math.abs((element as HTMLCanvasElement).width - wanted) <= 1,
        width * deviceScaleFactor,
      ),
    )
    for (let sample = 0; sample < 3; sample += 1) {
      for (const seen of await shapesOf(page, canvas, deviceScaleFactor)) {
        // A shape moves by five pixels a frame here: a box of the frame before or after would show.
        expect(deviation(seen, deviceScaleFactor), JSON.stringify(seen)).toBeLessThanOrEqual(2 * deviceScaleFactor)
      }
    }
  })

  test('search, types, sort and size choose tiles, and live in the address', async () => {
    const { page, complaints } = await openPage(browser, system.url)
    await live(page, STREAMS.length)
    expect(await names(page)).toEqual(['gate-1', 'gate-1', 'gate-2', 'hall', 'yard-2', 'yard-10'])
    await page.getByRole('searchbox').fill('GATE')
    await waitFor('three tiles', async () => (await tiles(page).count()) === 3)
    await page.getByRole('button', { name: 'people-int8' }).click()
    await waitFor('one tile', async () => (await tiles(page).count()) === 1)
    expect(new URL(page.url()).search).toBe('?q=GATE&type=people-int8')
    await page.reload()
    await waitFor('the same tile', async () => (await names(page)).join() === 'gate-1')
    await page.getByRole('searchbox').fill('nothing like it')
    await page.getByText('No stream fits these filters.').waitFor()
    await page.getByRole('button', { name: 'Show all streams' }).click()
    await page.getByLabel('Sort').selectOption('type')
    await waitFor(
      'sorted by type',
      async () => (await names(page)).join() === 'hall,yard-2,yard-10,gate-1,gate-2,gate-1',
    )
    const width = async () => (await tiles(page).first().boundingBox())!.width
    const medium = await width()
    await page.getByRole('button', { name: 'Large tiles' }).click()
    await waitFor('larger tiles', async () => (await width()) > medium * 1.3)
    expect(complaints).toEqual([])
  })

  test('boxes, confidence and labels choose what is drawn', async () => {
    const { page } = await openPage(browser, `${system.url}/?q=gate-2`)
    await live(page, 1)
    const canvas = tile(page, 'gate-2:people').locator('canvas')
    const drawn = async () =>
      (await shapesOf(page, canvas))
        .filter((seen) => seen.line)
        .map((seen) => seen.label)
        .join()
    await waitFor('all boxes', async () => (await drawn()) === 'person,car,bike')
    await page.goto(`${system.url}/?q=gate-2&min=0.6`)
    await waitFor('those over 60 %', async () => (await drawn()) === 'person,car')
    await page.getByText('Boxes', { exact: true }).first().click()
    await page.getByRole('checkbox', { name: 'car' }).uncheck()
    await waitFor('persons only', async () => (await drawn()) === 'person')
    await waitFor('one detection', async () => (await tile(page, 'gate-2:people').innerText()).includes('1 detection'))
    expect(page.url()).toContain('show=')
    await page.getByRole('checkbox', { name: /^Boxes/ }).uncheck()
    await waitFor('no box', async () => (await drawn()) === '')
  })

  test('only tiles in sight hold a websocket, and none in a hidden page', async () => {
    const viewers = async (): Promise<number> => {
      const port = /metrics and health at port (\d+)/.exec(system.relay.words.join('\n'))![1]
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
      return Number(/^ei_viewers(?:\{\})? ([\d.]+)/m.exec(text)![1])
    }
    await waitFor('no viewer of an earlier test', async () => (await viewers()) === 0)
    const { page } = await openPage(browser, `${system.url}/?size=l`, { viewport: { width: 500, height: 500 } })
    await waitFor('the tiles', async () => (await tiles(page).count()) === STREAMS.length)
    const atTop = await waitFor(
      'some viewers',
      async () => (await page.locator('[data-state="live"]').count()) > 0 && viewers(),
    )
    expect(atTop).toBeLessThanOrEqual(3)
    await tiles(page).last().scrollIntoViewIfNeeded()
    await waitFor('the last tile to live', async () => (await tiles(page).last().getAttribute('data-state')) === 'live')
    await waitFor('those above to leave', async () => (await viewers()) <= 3)
    // Headless pages are never hidden by themselves.
    await page.evaluate(() => {
      Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })
      document.dispatchEvent(new Event('visibilitychange'))
    })
    await waitFor('no viewer', async () => (await viewers()) === 0)
    await page.evaluate(() => {
      Object.defineProperty(document, 'visibilityState', { value: 'visible', configurable: true })
      document.dispatchEvent(new Event('visibilitychange'))
    })
    await waitFor('viewers again', async () => (await viewers()) > 0)
  })

  test('pause, snapshot and addresses', async () => {
    const { page, complaints } = await openPage(browser, `${system.url}/stream/gate-1:people:inferred`)
    await live(page, 1)
    const canvas = page.locator('article.stage canvas')
    await page.keyboard.press('Space')
    await page.getByText('paused').waitFor()
    const frozen = JSON.stringify(await shapesOf(page, canvas))
    await page.waitForTimeout(300)
    expect(JSON.stringify(await shapesOf(page, canvas))).toBe(frozen)
    const download = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Save picture' }).click()
    expect((await download).suggestedFilename()).toMatch(/^gate-1-people-.*\.jpg$/)
    const chunks: Buffer[] = []
    for await (const chunk of await (await download).createReadStream()) chunks.push(chunk as Buffer)
    const jpeg = Buffer.concat(chunks)
    expect(jpeg.subarray(0, 2).toString('hex')).toBe('ffd8')
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    await page.getByRole('button', { name: 'Copy websocket address' }).click()
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(
      `${system.url.replace('http', 'ws')}/gate-1:people:inferred`,
    )
    await page.getByRole('button', { name: 'Copy REST address' }).click()
    const address = await page.evaluate(() => navigator.clipboard.readText())
    expect(((await (await fetch(address)).json()) as { name: string }).name).toBe('gate-1')
    expect(complaints).toEqual([])
  })

  test('works by keyboard alone', async () => {
    const { page, complaints } = await openPage(browser, system.url)
    await live(page, STREAMS.length)
    await page.keyboard.press('/')
    await page.keyboard.type('yard')
    await waitFor('two tiles', async () => (await tiles(page).count()) === 2)
    const focusedLabel = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label'))
    for (let step = 0; step < 30 && !(await focusedLabel())?.startsWith('Open yard-2'); step += 1)
      await page.keyboard.press('Tab')
    expect(await focusedLabel()).toBe('Open yard-2, car')
    await page.keyboard.press('ArrowRight')
    expect(await focusedLabel()).toBe('Open yard-10, car')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'yard-10' }).waitFor()
    await page.keyboard.press('ArrowRight')
    await page.getByRole('heading', { name: 'yard-2' }).waitFor()
    await page.keyboard.press('Escape')
    await waitFor('the same filter', async () => (await names(page)).join() === 'yard-2,yard-10')
    expect(complaints).toEqual([])
  })

  test('the wall fits all tiles to the screen', async () => {
    const { page, complaints } = await openPage(browser, `${system.url}/?wall`, {
      viewport: { width: 1600, height: 900 },
    })
    await live(page, STREAMS.length)
    for (const box of await tiles(page).all()) {
      const { x, y, width, height } = (await box.boundingBox())!
      expect(x + width).toBeLessThanOrEqual(1601)
      expect(y + height).toBeLessThanOrEqual(901)
      expect(width * height).toBeGreaterThan((1600 * 900) / 12)
    }
    expect(await page.getByRole('banner').count()).toBe(0)
    await page.keyboard.press('Escape')
    await page.getByRole('banner').waitFor()
    expect(complaints).toEqual([])
  })

  test('a dead stream is a placeholder with the time of its last frame, and goes when the registry drops it', async () => {
    const { page, complaints } = await openPage(browser, system.url)
    await live(page, STREAMS.length)
    const id = 'hall:car:inferred'
    await publisher!.tell({ do: 'stop', streams: [id] })
    const dead = page.locator(`[data-stream="${id}"][data-state="dead"]`)
    await dead.waitFor()
    expect(await dead.locator('.notice').innerText()).toMatch(/no frame for \d+ s[\s\S]*last frame \d\d:\d\d:\d\d/)
    await waitFor('the tile to go', async () => (await page.locator(`[data-stream="${id}"]`).count()) === 0, 20_000)
    await publisher!.tell({ do: 'start', streams: [id] })
    await live(page, STREAMS.length)
    expect(complaints).toEqual([])
  })
})

describe('bad input', () => {
  beforeAll(publish)

  const id = 'gate-2:people:inferred'
  const hostile = [
    '<script>document.title="owned"</script>',
    '<img src=x onerror=alert(1)>',
    '🚲👨‍👩‍👧',
    'x'.repeat(10_000),
    'a\u0000\n\u202eb',
    '',
  ]

  test('odd detections are shown sanely', async () => {
    const { page, complaints } = await openPage(browser, `${system.url}/?q=gate-2`)
    await live(page, 1)
    const shown = (text: RegExp | string) =>
      waitFor(`the tile to say ${text}`, async () => (await tile(page, 'gate-2:people').innerText()).match(text))
    await publisher!.tell({ do: 'override', stream: id, detections: [] })
    await shown('0 detections')
    await publisher!.tell({
      do: 'override',
      stream: id,
      detections: Array.from({ length: 500 }, (_, index) => ({
        label: `thing ${index % 50}`,
        confidence: 0.3 + (index % 7) / 10,
        box: [
          (index % 25) / 25,
          Math.floor(index / 25) / 20,
          (index % 25) / 25 + 0.05,
          Math.floor(index / 25) / 20 + 0.06,
        ],
      })),
    })
    await shown('500 detections')
    await publisher!.tell({
      do: 'override',
      stream: id,
      detections: [
        { label: 'person', confidence: 0.9, box: [-3, -0.5, 0.5, 7] },
        { label: 'person', confidence: 0.9, box: [0.9, 0.9, 0.1, 0.1] },
        { label: 'person', confidence: 0.9, box: [2, 2, 3, 3] },
      ],
    })
    await shown('1 detection')
    await shown(/skipped/)
    await publisher!.tell({
      do: 'override',
      stream: id,
      detections: hostile.map((label, index) => ({
        label,
        confidence: 0.9,
        box: [index / 6, 0.1, (index + 0.9) / 6, 0.9],
      })),
    })
    await shown('6 detections')
    await page.getByText('Boxes', { exact: true }).first().click()
    expect(await page.getByRole('checkbox', { name: '<script>' }).count()).toBe(1)
    expect(await page.title()).toBe('Streams · Elastic Inference')
    await page.goto(`${system.url}/stream/${id}`)
    await live(page, 1)
    await page.locator('.found', { hasText: '🚲' }).waitFor()
    await publisher!.tell({ do: 'override', stream: id, detections: null })
    expect(complaints).toEqual([])
  })

  test('what can’t be shown is skipped and counted', async () => {
    const { page, complaints } = await openPage(browser, `${system.url}/?q=gate-2`)
    await live(page, 1)
    const skipped = async () =>
      Number.parseInt((await page.locator('[data-is="skipped"]').allInnerTexts())[0] ?? '0', 10)
    const document = {
      v: 1,
      stream: id,
      type: 'people',
      model: 'm',
      precision: 'FP32',
      device: 'CPU',
      seq: 1,
      ts: 1,
      width: 768,
      height: 432,
      pod: 'p',
      age_ms: 1,
      queue_ms: 1,
      infer_ms: 1,
      detections: [],
    }
    const messages = [
      { document, picture: 'broken' },
      { document, picture: 'none' },
      { document: { ...document, v: 2 }, picture: 'good' },
      { document: '{"v":1', picture: 'good' },
    ]
    let sent = 0
    for (const message of messages) {
      await publisher!.tell({ do: 'message', stream: id, ...message })
      sent += 1
    }
    // The relay may already refuse what it can't read; what reaches the page is counted there.
    const count = await waitFor('skipped messages', async () => (await skipped()) >= 1 && skipped())
    expect(count).toBeLessThanOrEqual(sent)
    expect(await page.locator('[data-is="skipped"]').getAttribute('title')).toMatch(/^Skipped: /)
    await live(page, 1)
    expect(complaints).toEqual([])
  })

  test('odd names and documents of the server are text, never HTML', async () => {
    const context = await browser.newContext()
    const page = await context.newPage()
    const complaints: string[] = []
    page.on(
      'console',
      (message) => message.type() === 'error' && !/WebSocket/.test(message.text()) && complaints.push(message.text()),
    )
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('dialog', (dialog) => complaints.push(dialog.message()))
    const stream = (name: string, index: number) => ({
      id: `${name}:people:inferred`,
      name,
      type: index % 2 ? 'people' : name.slice(0, 200),
      state: 'live',
      model: name.slice(0, 300),
      precision: null,
      width: null,
      height: null,
      fps: 15,
      source_fps: null,
      latency_ms: null,
      last_seen: null,
      url: '/x',
    })
    const streams = { streams: hostile.map(stream), missing: { queue: '<b>gone</b>' } }
    const stats = {
      time_ms: Date.now(),
      types: [
        { type: hostile[0], infer_fps: 1, drop_fps: 1, scale_ratio: 2, queue_length: null, replicas: 1, streams: 1 },
      ],
      totals: { infer_fps: 1, drop_fps: 1, queue_length: null, replicas: 1, streams: 1 },
      workers: [
        {
          pod: hostile[1],
          type: hostile[3],
          device: null,
          model: null,
          precision: null,
          infer_fps: 1,
          drop_fps: 0,
          scale_ratio: 1e9,
          last_seen: null,
        },
      ],
      missing: {},
    }
    await page.route('**/api/events', (route) =>
      route.fulfill({
        contentType: 'text/event-stream',
        body: `event: hello\ndata: {"version":"1","time_ms":${Date.now()}}\n\nevent: streams\ndata: not JSON\n\nevent: streams\ndata: ${JSON.stringify(streams)}\n\nevent: stats\ndata: ${JSON.stringify(stats)}\n\n`,
      }),
    )
    await page.goto(system.url)
    await waitFor('the tiles', async () => (await tiles(page).count()) === hostile.length)
    expect((await names(page)).some((name) => name.includes('<script>'))).toBe(true)
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true)
    await page.getByRole('link', { name: 'Pool' }).click()
    await page.getByRole('heading', { name: 'Pool' }).waitFor()
    expect(await page.locator('table').innerText()).toContain('<img src=x onerror=alert(1)>')
    await page.goto(`${system.url}/stream/${encodeURIComponent(hostile[0]!)}`)
    await page.goto(`${system.url}/compare/${encodeURIComponent('x'.repeat(3000))}`)
    await page.getByRole('heading', { name: 'Compare', exact: true }).waitFor()
    expect(complaints).toEqual([])
  })
})
