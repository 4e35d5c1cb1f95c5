/**
 * Pictures of every view, in both themes, on phone and desktop, of a running system: clips through real inference.
 *
 * `npm run screenshots` writes those that the documentation shows to doc/images; EI_SCREENSHOTS=<folder> writes all of
 * them there instead. Needs EI_TEST_MODELS and EI_TEST_VIDEOS.
 */
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
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

/** A screenshot as WebP, which the browser itself encodes. */
async function webp(page: Page, browser: Browser, quality = 0.82): Promise<Buffer> {
  const picture = (await page.screenshot()).toString('base64')
  const blank = await browser.newPage()
  const encoded = await blank.evaluate(
    async ({ picture, quality }) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(picture), (c) => c.charCodeAt(0))]))
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height)
      canvas.getContext('2d')!.drawImage(bitmap, 0, 0)
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/webp', quality })).arrayBuffer())
      let text = ''
      for (const byte of bytes) text += String.fromCharCode(byte)
      return btoa(text)
    },
    { picture, quality },
  )
  await blank.close()
  return Buffer.from(encoded, 'base64')
}

test('screenshots', { timeout: 600_000 }, async () => {
  for (const needed of [models, CARS, FACES]) {
    if (!existsSync(needed)) throw new Error(`${needed} is missing: set EI_TEST_MODELS and EI_TEST_VIDEOS`)
  }
  await mkdir(folder, { recursive: true })
  const system = await System.start({ token: TOKEN })
  const browser = await startBrowser()
  const pages: { page: Page; name: string }[] = []
  const shoot = async (page: Page, view: string, name: string): Promise<void> => {
    const file = `${view}-${name}`
    if (!everything && !DOCUMENTED.includes(file)) return
    const picture = everything ? await page.screenshot() : await webp(page, browser)
    expect(picture.length, file).toBeLessThan(everything ? 10_000_000 : 200_000)
    await writeFile(join(folder, `${file}.${everything ? 'png' : 'webp'}`), picture)
  }
  const onAll = async (view: string, ready: (page: Page) => Promise<unknown>, path?: string): Promise<void> => {
    for (const { page, name } of pages) {
      if (!everything && !DOCUMENTED.includes(`${view}-${name}`)) continue
      await page.bringToFront()
      if (path !== undefined) await page.goto(system.url + path)
      await ready(page)
      await shoot(page, view, name)
      // Two cores carry one page of pictures at a time.
      if (path !== undefined) await page.goto('about:blank')
    }
  }
  const live = (count: number) => (page: Page) =>
    waitFor(
      `${count} live tiles`,
      async () =>
        (await page.locator('[data-state="live"]').count()) >= count &&
        (await page.locator('[data-is="fps"]').count()) >= 0,
      60_000,
    )
  try {
    for (const [device, options] of Object.entries(DEVICES)) {
      for (const colorScheme of ['dark', 'light'] as const) {
        const page = await (await browser.newContext({ ...options, colorScheme })).newPage()
        await page.goto(system.url)
        await page.getByRole('heading', { name: 'Sign in' }).waitFor()
        pages.push({ page, name: `${colorScheme}-${device}` })
      }
    }
    await onAll('login', async () => undefined)
    for (const { page } of pages) {
      await page.getByLabel('Token').fill(TOKEN)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByRole('heading', { name: 'No stream yet' }).waitFor()
    }
    await onAll('empty', async () => undefined)
    for (const { page } of pages) await page.goto('about:blank')
    for (const pod of PODS) system.start(pod.INFER_TYPE, 'apps/infer_service.py', { ...pod, INFER_MODEL_PATH: models })
    for (const camera of CAMERAS)
      system.start(camera.STREAM_NAME, 'apps/file_stream_service.py', {
        ...camera,
        FRAME_WIDTH: '768',
        FRAME_HEIGHT: '432',
      })
    const cookie = { Authorization: `Bearer ${TOKEN}` }
    await waitFor(
      'all streams live',
      async () => {
        const { streams } = (await (await fetch(`${system.url}/api/streams`, { headers: cookie })).json()) as {
          streams: { state: string }[]
        }
        return streams.filter((stream) => stream.state === 'live').length === CAMERAS.length + 1
      },
      120_000,
    )
    const settled = (count: number) => async (page: Page) => {
      await live(count)(page)
      await page.waitForTimeout(3000)
    }
    await onAll('streams', settled(1), '/')
    await onAll('wall', settled(6), '/?wall')
    await onAll('compare', settled(2), '/compare/north-gate')
    await onAll(
      'stream',
      async (page) => {
        await settled(1)(page)
        await page.waitForTimeout(8000)
      },
      '/stream/lobby:face:inferred',
    )
    await onAll(
      'pool',
      async (page) => {
        await page.locator('[data-is="sentence"]').first().waitFor()
        await page.waitForTimeout(everything ? 15_000 : 40_000)
      },
      '/pool',
    )
    for (const { page } of pages) {
      await page.goto(system.url)
    }
    await waitFor('tiles', async () => (await pages[0]!.page.locator('[data-state="live"]').count()) > 0, 60_000)
    await pages[0]!.page.waitForTimeout(4000)
    await system.gateway.stop('SIGKILL')
    await pages[0]!.page.waitForTimeout(5000)
    await onAll('offline', async (page) => page.getByText('No connection to the server').waitFor())
  } catch (error) {
    throw new Error(`${String(error)}\n${system.words()}`, { cause: error })
  } finally {
    await browser.close()
    await system.stop()
  }
})
