/** Compare, pool, accessibility and small screens against real services. */
import { expect, test } from 'vitest'

import { axeFindings } from './accessibility'
import { live, useSuite } from './suite'
import { waitFor } from './system'
import { shapesOf } from './tile_pixels'

// Charts are canvases too, but only a stream's canvas is an image by role.
const IMAGE = 'canvas[role="img"]'
const STREAMS = ['gate-1:people', 'gate-1:people-int8', 'hall:car']
const suite = useSuite({ streams: STREAMS })

test('compare shows the same frame at the same time, and the differences', async () => {
  const { page, complaints } = await suite.open('/compare')
  await live(page, 2)
  const [left, right] = [page.locator('article.tile').nth(0), page.locator('article.tile').nth(1)]
  expect(await left.innerText()).toContain('FP32')
  expect(await right.innerText()).toContain('INT8')
  await waitFor('in step', async () => (await page.locator('[data-is="step"]').innerText()) === 'in step')
  // One screenshot of both: the shapes must be at the same place in each image.
  const columns = page.locator('.columns')
  for (let sample = 0; sample < 3; sample += 1) {
    const [both, a, b] = [
      await columns.screenshot(),
      (await left.locator(IMAGE).boundingBox())!,
      (await right.locator(IMAGE).boundingBox())!,
    ]
    const spread = await page.evaluate(
      async ({ image, width, gap }) => {
        const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(image), (c) => c.charCodeAt(0))]))
        const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d')!
        context.drawImage(bitmap, 0, 0)
        const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height)
        const firstMagenta = (from: number): number => {
          for (let x = from; x < from + width; x += 1) {
            for (let y = 0; y < bitmap.height; y += 1) {
              const at = (y * bitmap.width + x) * 4
              if (data[at]! > 200 && data[at + 1]! < 60 && data[at + 2]! > 200) return x - from
            }
          }
          return Number.NaN
        }
        return Math.abs(firstMagenta(0) - firstMagenta(gap))
      },
      { image: both.toString('base64'), width: Math.floor(a.width), gap: Math.round(b.x - a.x) },
    )
    expect(spread).toBeLessThanOrEqual(1)
  }
  await page.getByRole('button', { name: 'Only differences' }).click()
  // The smaller model misses one shape half of the time.
  await waitFor('a difference', async () => (await left.locator('[data-is="only"]').innerText()) === '1 only here')
  await waitFor('no difference', async () => (await left.locator('[data-is="only"]').innerText()) === '0 only here')
  for (const what of ['fps', 'latency', 'detections'])
    expect(await left.locator(`[data-is="${what}"]`).innerText()).toMatch(/\d/)
  expect(complaints).toEqual([])
})

test('compare continues when one of the two stops', async () => {
  const { page, complaints } = await suite.open('/compare/gate-1')
  await live(page, 2)
  await suite.publisher.tell({ do: 'stop', streams: ['gate-1:people-int8:inferred'] })
  try {
    await page.locator('[data-stream="gate-1:people-int8:inferred"][data-state="dead"]').waitFor()
    const canvas = page.locator('[data-stream="gate-1:people:inferred"]').locator(IMAGE)
    const before = JSON.stringify(await shapesOf(page, canvas))
    await waitFor('the other one to move', async () => JSON.stringify(await shapesOf(page, canvas)) !== before)
  } finally {
    await suite.publisher.tell({ do: 'start', streams: ['gate-1:people-int8:inferred'] })
  }
  await live(page, 2)
  expect(complaints).toEqual([])
})

test('the pool summarises each type in a sentence, and the charts move', async () => {
  const { page, complaints } = await suite.open('/pool')
  const people = page.locator('[data-type="people"]')
  await waitFor(
    'a quiet pool',
    async () => {
      const text = await page.locator('body').innerText()
      // On a time-out, the error shows the whole page.
      return /people: \d+ fps on 1 pod, 50 % used, no drops/.test(text)
        ? text
        : Promise.reject(new Error(`${text}\n${complaints.join('\n')}`))
    },
    30_000,
  )
  const chart = people.locator('canvas').first()
  const image = async () => (await chart.screenshot()).toString('base64')
  const before = await waitFor('a curve', async () => image())
  await suite.publisher.tell({
    do: 'worker',
    type: 'people',
    replicas: 1,
    infer_fps: 42,
    drop_fps: 58,
    scale_ratio: 2.4,
  })
  await waitFor(
    'the new sentence',
    async () =>
      (await people.locator('[data-is="sentence"]').innerText()) ===
      'people: 2.4 pods needed, 1 running, 58 % of frames dropped',
  )
  await waitFor('another chart', async () => (await image()) !== before)
  await waitFor('the total', async () =>
    /58 dropped/.test((await page.locator('[data-total="drop"]').innerText()).replaceAll('\n', ' ')),
  )
  await suite.publisher.tell({
    do: 'worker',
    type: 'people',
    replicas: 3,
    infer_fps: 100,
    drop_fps: 0,
    scale_ratio: 0.8,
  })
  await waitFor(
    'three workers',
    async () => (await page.locator('table tbody tr', { hasText: 'pod-people-' }).count()) >= 3,
  )
  const row = await page.locator('table tbody tr', { hasText: 'pod-people-2' }).innerText()
  expect(row).toMatch(/people-test-model\s+FP32/)
  expect(row).toContain('0.80')
  expect(complaints).toEqual([])
})

test.each(['dark', 'light'] as const)('axe finds nothing in the %s theme', async (colorScheme) => {
  const { page, complaints } = await suite.open('/', { colorScheme })
  await live(page, STREAMS.length)
  const check = async (view: string): Promise<void> => expect(await axeFindings(page), view).toEqual([])
  await check('streams')
  await page.locator('details summary').click()
  await check('filters')
  await page.goto(`${suite.system.url}/stream/gate-1:people:inferred`)
  await live(page, 1)
  await check('one stream')
  await page.getByRole('link', { name: 'Compare', exact: true }).click()
  await live(page, 2)
  await check('compare')
  await page.getByRole('link', { name: 'Pool' }).click()
  await page.locator('[data-is="sentence"]').first().waitFor()
  await check('pool')
  await page.getByRole('link', { name: 'Cameras', exact: true }).click()
  await page.getByText('CAMERAS_FILE').first().waitFor()
  await check('cameras, which nobody keeps')
  await page.getByRole('link', { name: 'Events', exact: true }).click()
  await page.getByRole('heading', { name: 'No events yet' }).waitFor()
  await check('events, of which there are none')
  await page.goto(`${suite.system.url}/?wall`)
  await live(page, STREAMS.length)
  await check('wall')
  await page.goto(`${suite.system.url}/nothing/here`)
  await page.getByRole('heading', { name: 'Page not found' }).waitFor()
  await check('unknown page')
  expect(complaints).toEqual([])
})

test('the theme follows the system until it is switched', async () => {
  const { page } = await suite.open('/', { colorScheme: 'light' })
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme)
  expect(await theme()).toBe('light')
  await page.emulateMedia({ colorScheme: 'dark' })
  await waitFor('dark', async () => (await theme()) === 'dark')
  await page.getByRole('button', { name: 'Light theme' }).click()
  expect(await theme()).toBe('light')
  await page.reload()
  await waitFor('still light', async () => (await theme()) === 'light')
})

test.each([
  ['phone', 360, 740],
  ['4K wall', 3840, 2160],
])('nothing is cut off on a %s', async (_name, width, height) => {
  const { page, complaints } = await suite.open('/', { viewport: { width, height } })
  await live(page, STREAMS.length)
  for (const path of [
    '/',
    '/stream/gate-1:people:inferred',
    '/compare',
    '/pool',
    '/cameras',
    '/cameras/new',
    '/events',
  ]) {
    if (path !== '/') await page.goto(suite.system.url + path)
    await page.getByRole('heading', { level: 1 }).first().waitFor({ state: 'attached' })
    await waitFor(`no sideways scrolling at ${path}`, () =>
      page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
    )
  }
  expect(complaints).toEqual([])
})

test('with reduced motion nothing turns or fades', async () => {
  const { page } = await suite.open('/', { reducedMotion: 'reduce' })
  await live(page, STREAMS.length)
  const moving = await page.evaluate(() => document.getAnimations().length)
  expect(moving).toBe(0)
})
