/** The streams view against real services: images, boxes, filters, sight, keyboard. */
import { expect, test } from 'vitest'

import { live, names, tile, tiles, useSuite } from './suite'
import { Publisher, waitFor } from './system'
import { checkTiles, deviation, shapesOf } from './tile_pixels'

const STREAMS = ['gate-1:people', 'gate-1:people-int8', 'gate-2:people', 'hall:car', 'yard-2:car', 'yard-10:car']
const suite = useSuite()

test('without a stream the page says how to attach one, and shows it without a reload', async () => {
  const { page, complaints } = await suite.open('/')
  await page.getByRole('heading', { name: 'No streams yet' }).waitFor()
  expect(await page.locator('code', { hasText: 'ei-camera-stream-service' }).count()).toBeGreaterThan(0)
  suite.publisher = await Publisher.start(suite.system.brokerUrl, STREAMS)
  await live(page, STREAMS.length)
  expect(complaints).toEqual([])
})

test('tiles show moving images, with each box where the result says', async () => {
  const { page, complaints } = await suite.open('/')
  await live(page, STREAMS.length)
  const canvas = tile(page, 'gate-1:people').locator('canvas')
  const before = await shapesOf(page, canvas)
  await waitFor(
    'a shape in another place',
    async () => JSON.stringify(await shapesOf(page, canvas)) !== JSON.stringify(before),
  )
  const seen = await checkTiles(page, 'article.tile', 3)
  expect(seen.checked).toBeGreaterThanOrEqual(8)
  expect(seen.worst).toBeLessThanOrEqual(2)
  // Below the image: name, type, precision, rate, latency, count.
  const text = await tile(page, 'gate-1:people-int8').innerText()
  expect(text).toMatch(/gate-1/)
  expect(text).toMatch(/people-int8/)
  expect(text).toMatch(/INT8/)
  expect(text).toMatch(/\d+ fps · [\d\u202f]+ ms/)
  expect(text).toMatch(/[23] detections/)
  const latency = await tile(page, 'gate-1:people').locator('[data-is="latency"]').innerText()
  expect(Number.parseInt(latency.replaceAll(/[^\d]/g, ''), 10)).toBeGreaterThanOrEqual(15)
  expect(complaints).toEqual([])
})

test.each([1, 2])('boxes lie on the shapes at their full size, at a pixel ratio of %d', async (deviceScaleFactor) => {
  const { page } = await suite.open('/stream/gate-2:people:inferred', { deviceScaleFactor })
  await live(page, 1)
  const canvas = page.locator('article.stage canvas')
  // Sharp: the canvas has one pixel for each pixel of the screen.
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

test('search, types, sort and size select tiles and are kept in the address', async () => {
  const { page, complaints } = await suite.open('/')
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
  await page.getByText('No streams match these filters.').waitFor()
  await page.getByRole('button', { name: 'Show all streams' }).click()
  await page.getByLabel('Sort').selectOption('type')
  await waitFor('sorted by type', async () => (await names(page)).join() === 'hall,yard-2,yard-10,gate-1,gate-2,gate-1')
  const width = async () => (await tiles(page).first().boundingBox())!.width
  const medium = await width()
  await page.getByRole('button', { name: 'Large tiles' }).click()
  await waitFor('larger tiles', async () => (await width()) > medium * 1.3)
  expect(complaints).toEqual([])
})

test('boxes, confidence and labels select what is drawn', async () => {
  const { page } = await suite.open('/?q=gate-2')
  await live(page, 1)
  const canvas = tile(page, 'gate-2:people').locator('canvas')
  const drawn = async () =>
    (await shapesOf(page, canvas))
      .filter((seen) => seen.line)
      .map((seen) => seen.label)
      .join()
  await waitFor('all boxes', async () => (await drawn()) === 'person,car,bike')
  await page.goto(`${suite.system.url}/?q=gate-2&min=0.6`)
  await waitFor('those over 60 %', async () => (await drawn()) === 'person,car')
  await page.getByText('Boxes', { exact: true }).first().click()
  await page.getByRole('checkbox', { name: 'car' }).uncheck()
  await waitFor('persons only', async () => (await drawn()) === 'person')
  await waitFor('one detection', async () => (await tile(page, 'gate-2:people').innerText()).includes('1 detection'))
  expect(page.url()).toContain('show=')
  await page.getByRole('checkbox', { name: /^Boxes/ }).uncheck()
  await waitFor('no box', async () => (await drawn()) === '')
})

test('only visible tiles hold a websocket, and none on a hidden page', async () => {
  const viewers = async (): Promise<number> => {
    const port = /metrics.* port (\d+)/.exec(suite.system.relay.words.join('\n'))![1]
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    return Number(/^ei_viewers(?:\{\})? ([\d.]+)/m.exec(text)![1])
  }
  await waitFor('no viewer of an earlier test', async () => (await viewers()) === 0)
  const { page } = await suite.open('/?size=l', { viewport: { width: 500, height: 500 } })
  await waitFor('the tiles', async () => (await tiles(page).count()) === STREAMS.length)
  const atTop = await waitFor(
    'some viewers',
    async () => (await page.locator('[data-state="live"]').count()) > 0 && viewers(),
  )
  expect(atTop).toBeLessThanOrEqual(3)
  await tiles(page).last().scrollIntoViewIfNeeded()
  await waitFor(
    'the last tile to be live',
    async () => (await tiles(page).last().getAttribute('data-state')) === 'live',
  )
  await waitFor('those above to leave', async () => (await viewers()) <= 3)
  // A headless page is never hidden on its own.
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
  const { page, complaints } = await suite.open('/stream/gate-1:people:inferred')
  await live(page, 1)
  const canvas = page.locator('article.stage canvas')
  await page.keyboard.press('Space')
  await page.getByText('paused').waitFor()
  const frozen = JSON.stringify(await shapesOf(page, canvas))
  await page.waitForTimeout(500)
  expect(JSON.stringify(await shapesOf(page, canvas))).toBe(frozen)
  const download = page.waitForEvent('download')
  await page.getByRole('button', { name: 'Save frame' }).click()
  expect((await download).suggestedFilename()).toMatch(/^gate-1-people-.*\.jpg$/)
  const chunks: Buffer[] = []
  for await (const chunk of await (await download).createReadStream()) chunks.push(chunk as Buffer)
  const jpeg = Buffer.concat(chunks)
  expect(jpeg.subarray(0, 2).toString('hex')).toBe('ffd8')
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.getByRole('button', { name: 'Copy websocket address' }).click()
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(
    `${suite.system.url.replace('http', 'ws')}/gate-1:people:inferred`,
  )
  await page.getByRole('button', { name: 'Copy REST address' }).click()
  const address = await page.evaluate(() => navigator.clipboard.readText())
  expect(((await (await fetch(address)).json()) as { name: string }).name).toBe('gate-1')
  expect(complaints).toEqual([])
})

test('works by keyboard alone', async () => {
  const { page, complaints } = await suite.open('/')
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
  const { page, complaints } = await suite.open('/?wall', {
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

test('a dead stream says when its last frame came, and goes when the registry drops it', async () => {
  const { page, complaints } = await suite.open('/')
  await live(page, STREAMS.length)
  const id = 'hall:car:inferred'
  await suite.publisher.tell({ do: 'stop', streams: [id] })
  const dead = page.locator(`[data-stream="${id}"][data-state="dead"]`)
  await dead.waitFor()
  expect(await dead.locator('.notice').innerText()).toMatch(/no frame for \d+ s[\s\S]*last frame \d\d:\d\d:\d\d/)
  await waitFor('the tile to go', async () => (await page.locator(`[data-stream="${id}"]`).count()) === 0, 20_000)
  await suite.publisher.tell({ do: 'start', streams: [id] })
  await live(page, STREAMS.length)
  expect(complaints).toEqual([])
})
