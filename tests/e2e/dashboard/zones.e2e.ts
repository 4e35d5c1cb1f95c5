/** Zones and lines are drawn on the live image, by pointer and by keys, undone, and saved to the camera. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { axeFindings } from './accessibility'
import { live, useSuite } from './suite'
import { waitFor } from './system'

const folder = mkdtempSync(join(tmpdir(), 'ei-zones-'))
afterAll(() => rmSync(folder, { recursive: true }))
// Its results come from a publisher: neither a worker nor a pod runs.
const suite = useSuite({
  streams: ['yard-1:people'],
  env: {
    CAMERAS_FILE: join(folder, 'cameras.yaml'),
    CAMERA_NETWORKS: '127.0.0.0/8',
  },
})

interface Spec {
  zones: { name: string; points: number[][]; dwell_s: number | null }[]
  lines: { name: string; from: number[]; to: number[] }[]
}

const spec = async (): Promise<Spec> => {
  const answer = await fetch(`${suite.system.url}/api/cameras/yard-1`)
  return ((await answer.json()) as { spec: Spec }).spec
}

/** Clicks at a share of the live image. */
async function click(page: Page, x: number, y: number): Promise<void> {
  const box = (await page.locator('svg.shapes').boundingBox())!
  await page.mouse.click(box.x + x * box.width, box.y + y * box.height)
}

async function save(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByText('Saved.').waitFor()
}

beforeAll(async () => {
  suite.system.start('housekeeping', 'apps/housekeeping_service.py')
  await waitFor('the camera', async () => {
    const answer = await fetch(`${suite.system.url}/api/cameras`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        name: 'yard-1',
        url: 'rtsp://127.0.0.1:9/none',
        types: ['people'],
      }),
    })
    return answer.status === 201 || answer.status === 409
  })
})

test('a zone is drawn, changed, undone and saved', async () => {
  const { page, complaints } = await suite.open('/camera/yard-1')
  await page.getByRole('link', { name: 'Zones and lines' }).click()
  await live(page, 1)
  await page.getByRole('button', { name: 'Zone', exact: true }).click()
  for (const [x, y] of [
    [0.2, 0.2],
    [0.8, 0.2],
    [0.8, 0.8],
    [0.2, 0.8],
    [0.2, 0.2],
  ] as const)
    await click(page, x, y)
  await page.getByLabel('Name').fill('hall')
  await page.getByLabel('Long stay, seconds').fill('30')
  if (process.env.EI_ZONES_SHOTS) await page.screenshot({ path: `${process.env.EI_ZONES_SHOTS}/drawn.png` })
  // A point moves by keys; both steps are one.
  const point = page.getByRole('button', { name: 'Point 1 of hall' })
  await point.focus()
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('Shift+ArrowDown')
  await page.getByRole('button', { name: 'Point 1 of hall: 21 %, 25 %' }).waitFor()
  await page.keyboard.press('Control+z')
  await page.getByRole('button', { name: 'Point 1 of hall: 20 %, 20 %' }).waitFor()
  await page.getByRole('button', { name: 'Redo' }).click()
  await save(page)
  const { zones } = await spec()
  expect(zones.map(({ name, dwell_s }) => [name, dwell_s])).toEqual([['hall', 30]])
  expect(zones[0]!.points).toHaveLength(4)
  expect(zones[0]!.points[0]![0]).toBeCloseTo(0.21, 1)
  expect(zones[0]!.points[2]![1]).toBeCloseTo(0.8, 1)
  expect(complaints).toEqual([])
})

test('a line is drawn by keys alone; a refused name is said; what is drawn survives a reload', async () => {
  const { page, complaints } = await suite.open('/camera/yard-1/zones')
  await page.getByRole('button', { name: 'Line', exact: true }).focus()
  await page.keyboard.press('Enter')
  for (const key of ['Shift+ArrowUp', 'Space', 'Shift+ArrowDown', 'Shift+ArrowDown', 'Space'])
    await page.keyboard.press(key)
  await page.getByLabel('Name').fill('a door')
  await page.getByText('Expected a name of letters').waitFor()
  expect(await page.getByRole('button', { name: 'Save', exact: true }).isDisabled()).toBe(true)
  await page.getByLabel('Name').fill('door')
  await save(page)
  expect((await spec()).lines.map(({ name, from, to }) => [name, from, to])).toEqual([
    ['door', [0.5, 0.45], [0.5, 0.55]],
  ])
  await page.reload()
  await page.locator('[data-shape="door"]').waitFor()
  await page.locator('[data-choose="hall"]').click()
  await page.getByRole('button', { name: 'Remove hall' }).click()
  await page.getByRole('button', { name: 'Undo' }).click()
  await page.locator('[data-shape="hall"]').waitFor()
  expect(complaints).toEqual([])
})

test('what the zone counts is drawn beside the live video', { timeout: 180_000 }, async () => {
  suite.system.start('event service', 'apps/event_service.py')
  const entered = async (): Promise<number> => {
    const answer = await fetch(`${suite.system.url}/api/cameras/yard-1/counts`)
    const { zones } = (await answer.json()) as {
      zones: { labels: { entered: number }[] }[]
    }
    return zones.flatMap(({ labels }) => labels).reduce((sum, label) => sum + label.entered, 0)
  }
  await waitFor('somebody in the zone', async () => (await entered()) > 0, 120_000)
  const { page, complaints } = await suite.open('/stream/yard-1:people:inferred')
  await page
    .locator('[data-counts="hall"]')
    .getByText(/\d inside, \d+ entered/)
    .first()
    .waitFor()
  await page
    .getByRole('img', {
      name: 'zone hall: inside at most, entered, left, by minute, last hour',
    })
    .waitFor()
  await page.getByRole('img', { name: 'line door: in, out, by minute, last hour' }).waitFor()
  expect(await axeFindings(page)).toEqual([])
  // Its edge is drawn over the live image, and not while zones are off.
  await page.setViewportSize({ width: 1280, height: 1000 })
  await waitFor('the zone over the image', () => inked(page))
  await page.keyboard.press('z')
  await waitFor('no zone over the image', async () => !(await inked(page)))
  expect(page.url()).toContain('zones=0')
  expect(complaints).toEqual([])
})

/** Whether the live image has the colour of zones anywhere. */
async function inked(page: Page): Promise<boolean> {
  const image = (await page.locator('article.stage canvas').screenshot()).toString('base64')
  return page.evaluate(async (png) => {
    const bytes = Uint8Array.from(atob(png), (character) => character.charCodeAt(0))
    const bitmap = await createImageBitmap(new Blob([bytes]))
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d')!
    context.drawImage(bitmap, 0, 0)
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height)
    let found = 0
    for (let at = 0; at < data.length; at += 4)
      if (Math.hypot(data[at]! - 0x4c, data[at + 1]! - 0xc2, data[at + 2]! - 0xff) < 12) found += 1
    return found > 200
  }, image)
}

test.each(['dark', 'light'] as const)(
  'axe finds nothing in the %s theme, and nothing is cut off',
  async (colorScheme) => {
    const { page } = await suite.open('/camera/yard-1/zones', {
      colorScheme,
      viewport: { width: 1280, height: 800 },
    })
    await live(page, 1)
    await page.locator('[data-choose="hall"]').click()
    expect(await axeFindings(page)).toEqual([])
    if (process.env.EI_ZONES_SHOTS)
      await page.screenshot({
        path: `${process.env.EI_ZONES_SHOTS}/${colorScheme}.png`,
      })
    await page.setViewportSize({ width: 360, height: 740 })
    await waitFor('no sideways scrolling', () =>
      page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
    )
  },
)
