/**
 * Screenshots of every view of a running system (clips through real inference), in both themes, on phone and desktop.
 *
 * `npm run screenshots` writes the documented ones to doc/images; with EI_SCREENSHOTS=<folder> it writes all of them
 * there. Needs EI_TEST_MODELS and EI_TEST_VIDEOS.
 */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { expect, test } from 'vitest'

import { startBrowser } from './browser'
import { repository, System, waitFor } from './system'

const models = process.env.EI_TEST_MODELS ?? join(repository, '../shared/models')
const videos = process.env.EI_TEST_VIDEOS ?? join(repository, '../shared/videos')
const everything = process.env.EI_SCREENSHOTS
const folder = everything ?? join(repository, 'doc/images')
const TOKEN = 'screenshots'
const DOCUMENTED = [
  'streams-dark-desktop',
  'streams-light-desktop',
  'streams-dark-phone',
  'stream-dark-desktop',
  'compare-light-desktop',
  'pool-dark-desktop',
  'wall-dark-desktop',
]
const DEVICES: Record<string, BrowserContextOptions> = {
  desktop: { viewport: { width: 1440, height: 900 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true },
}
const PODS = [
  { INFER_TYPE: 'car-fp16', INFER_MODEL_NAME: 'person-vehicle-bike-detection-crossroad-0078_FP16' },
  { INFER_TYPE: 'car-int8', INFER_MODEL_NAME: 'person-vehicle-bike-detection-crossroad-0078_INT8' },
  { INFER_TYPE: 'face', INFER_MODEL_NAME: 'face-detection-retail-0005_FP32' },
]
const CARS = join(videos, 'car-detection.mp4')
const FACES = join(videos, 'head-pose-face-detection-female-and-male.gif')
const CAMERAS = [
  { STREAM_NAME: 'north-gate', INFER_TYPE: 'car-fp16,car-int8', VIDEO_FILE: CARS, VIDEO_FPS: '6' },
  { STREAM_NAME: 'parking-1', INFER_TYPE: 'car-int8', VIDEO_FILE: CARS, VIDEO_FPS: '6' },
  { STREAM_NAME: 'parking-2', INFER_TYPE: 'car-int8', VIDEO_FILE: CARS, VIDEO_FPS: '5' },
  { STREAM_NAME: 'lobby', INFER_TYPE: 'face', VIDEO_FILE: FACES, VIDEO_FPS: '10' },
  { STREAM_NAME: 'reception', INFER_TYPE: 'face', VIDEO_FILE: FACES, VIDEO_FPS: '8' },
]

// Of the pool: the last two show what goes wrong.
const POOLED = [
  { name: 'dock-1', url: `file://${CARS}`, types: ['car-int8'], labels: { site: 'north' } },
  { name: 'dock-2', url: `file://${CARS}`, types: ['car-fp16', 'car-int8'], fps: 4, labels: { site: 'north' } },
  { name: 'entrance', url: `file://${FACES}`, types: ['face'], fps: 8, labels: { site: 'south' } },
  { name: 'stairs', url: `file://${FACES}`, types: ['face'], enabled: false, labels: { site: 'south' } },
  { name: 'yard', url: 'rtsp://127.0.0.1:9/stream1', types: ['car-int8'], labels: { site: 'north' } },
]

/** A screenshot as WebP, which the browser itself encodes. */
async function webp(page: Page, browser: Browser, quality = 0.82): Promise<Buffer> {
  const image = (await page.screenshot()).toString('base64')
  const blank = await browser.newPage()
  const encoded = await blank.evaluate(
    async ({ image, quality }) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(image), (c) => c.charCodeAt(0))]))
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height)
      canvas.getContext('2d')!.drawImage(bitmap, 0, 0)
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/webp', quality })).arrayBuffer())
      let text = ''
      for (const byte of bytes) text += String.fromCharCode(byte)
      return btoa(text)
    },
    { image, quality },
  )
  await blank.close()
  return Buffer.from(encoded, 'base64')
}

/** The open pages, one for each theme and device. */
class Shots {
  private readonly pages: { page: Page; name: string }[] = []
  constructor(
    private readonly system: System,
    private readonly browser: Browser,
  ) {}

  async open(): Promise<void> {
    for (const [device, options] of Object.entries(DEVICES)) {
      for (const colorScheme of ['dark', 'light'] as const) {
        const page = await (await this.browser.newContext({ ...options, colorScheme })).newPage()
        this.pages.push({ page, name: `${colorScheme}-${device}` })
      }
    }
    await this.each((page) => page.goto(this.system.url))
  }

  async each(action: (page: Page) => Promise<unknown>): Promise<void> {
    for (const { page } of this.pages) await action(page)
  }

  /** Photographs a view on every page that needs it, once `ready` says so; opens `path` first if one is given. */
  async take(view: string, ready: (page: Page) => Promise<unknown>, path?: string): Promise<void> {
    for (const { page, name } of this.pages) {
      const file = `${view}-${name}`
      if (!everything && !DOCUMENTED.includes(file)) continue
      await page.bringToFront()
      if (path !== undefined) await page.goto(this.system.url + path)
      await ready(page)
      const image = everything ? await page.screenshot() : await webp(page, this.browser)
      expect(image.length, file).toBeLessThan(everything ? 10_000_000 : 200_000)
      await writeFile(join(folder, `${file}.${everything ? 'png' : 'webp'}`), image)
      // Two cores carry one page of live images at a time.
      if (path !== undefined) await page.goto('about:blank')
    }
  }
}

const live = (page: Page, count: number): Promise<unknown> =>
  waitFor(`${count} live tiles`, async () => (await page.locator('[data-state="live"]').count()) >= count, 60_000)

/** Live, and long enough for rates and charts to have something to say. */
const settled =
  (count: number, ms = 3000) =>
  async (page: Page): Promise<void> => {
    await live(page, count)
    await page.waitForTimeout(ms)
  }

/** Three cameras of the pool are live, with their images. */
const pooled = async (page: Page): Promise<void> => {
  await waitFor('live cameras', async () => (await page.locator('tr[data-state="live"]').count()) >= 3, 60_000)
  await waitFor('their images', async () => (await page.locator('.snapshot > img[alt^="Last"]').count()) >= 3, 60_000)
  await page.waitForTimeout(11_000)
}

async function startStreams(system: System): Promise<void> {
  for (const pod of PODS) system.start(pod.INFER_TYPE, 'apps/infer_service.py', { ...pod, INFER_MODEL_PATH: models })
  const size = { FRAME_WIDTH: '768', FRAME_HEIGHT: '432' }
  for (const camera of CAMERAS) system.start(camera.STREAM_NAME, 'apps/file_stream_service.py', { ...camera, ...size })
  const headers = { Authorization: `Bearer ${TOKEN}` }
  const allLive = async (): Promise<boolean> => {
    const response = await fetch(`${system.url}/api/streams`, { headers })
    const { streams } = (await response.json()) as { streams: { state: string }[] }
    return streams.filter((stream) => stream.state === 'live').length === CAMERAS.length + 1
  }
  await waitFor('all streams live', allLive, 120_000)
}

/** Starts the camera pool: its owner, a source worker, and some cameras. */
async function startPool(system: System): Promise<void> {
  system.start('housekeeping', 'apps/housekeeping_service.py')
  const allowed = { CAMERA_NETWORKS: '127.0.0.0/8', VIDEO_DIR: videos }
  system.start('source worker', 'apps/camera_stream_service.py', { CAMERA_POOL: 'true', ...allowed })
  const headers = { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' }
  for (const camera of POOLED) {
    await waitFor(`the camera ${camera.name}`, async () => {
      const body = JSON.stringify(camera)
      return (await fetch(`${system.url}/api/cameras`, { method: 'POST', headers, body })).status === 201
    })
  }
}

async function takeAll(system: System, shots: Shots): Promise<void> {
  await shots.open()
  await shots.take('login', (page) => page.getByRole('heading', { name: 'Sign in' }).waitFor())
  await shots.each(async (page) => {
    await page.getByLabel('Token').fill(TOKEN)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'No streams yet' }).waitFor()
  })
  await shots.take('empty', (page) => page.getByRole('heading', { name: 'No streams yet' }).waitFor())
  await shots.each((page) => page.goto('about:blank'))
  await startStreams(system)
  await shots.take('streams', settled(1), '/')
  await shots.take('wall', settled(6), '/?wall')
  await shots.take('compare', settled(2), '/compare/north-gate')
  await shots.take('stream', settled(1, 11_000), '/stream/lobby:face:inferred')
  const pool = async (page: Page): Promise<void> => {
    await page.locator('[data-is="sentence"]').first().waitFor()
    await page.waitForTimeout(everything ? 15_000 : 40_000)
  }
  await shots.take('pool', pool, '/pool')
  if (everything) {
    await startPool(system)
    await shots.take('cameras', pooled, '/cameras')
  }
  await shots.each((page) => page.goto(system.url))
  await shots.each((page) => live(page, 1))
  await system.gateway.stop('SIGKILL')
  await shots.take('offline', async (page) => {
    await page.getByText('No connection to the server').waitFor()
    await page.locator('[data-state="dead"]').first().waitFor()
  })
}

test('screenshots', { timeout: 600_000 }, async () => {
  for (const needed of [models, CARS, FACES]) {
    if (!existsSync(needed)) throw new Error(`${needed} is missing: set EI_TEST_MODELS and EI_TEST_VIDEOS`)
  }
  await mkdir(folder, { recursive: true })
  const kept = await mkdtemp(join(tmpdir(), 'ei-cameras-'))
  const system = await System.start({ token: TOKEN, env: { CAMERAS_FILE: join(kept, 'cameras.yaml') } })
  const browser = await startBrowser()
  try {
    await takeAll(system, new Shots(system, browser))
  } catch (error) {
    throw new Error(`${String(error)}\n${system.words()}`, { cause: error })
  } finally {
    await browser.close()
    await system.stop()
    await rm(kept, { recursive: true })
  }
})
