/** The page of events against a real gateway and Redis: rows, live updates, filters, older ones, errors. */
import type { Locator, Page } from 'playwright-core'
import { beforeAll, expect, test } from 'vitest'

import { axeFindings } from './accessibility'
import { useSuite } from './suite'
import { type Service, waitFor } from './system'

const suite = useSuite()
let writer: Service

beforeAll(() => {
  writer = suite.system.start('event writer', 'tests/support/event_writer.py')
})

const send = (camera: string, n: number, more: object = {}): boolean =>
  writer.child.stdin!.write(`${JSON.stringify({ camera, n, ...more })}\n`)

/** Writes a revision of an event, with the defaults of tests/support/event_writer.py. */
async function write(camera: string, n: number, more: object = {}): Promise<void> {
  send(camera, n, more)
  const id = `wrote ${camera}:people:inferred/1-${n}-`
  await waitFor(id, () => writer.words.some((line) => line.startsWith(id)), 30_000)
}

const rows = (page: Page): Locator => page.locator('[data-event]')
const words = (page: Page): Promise<string[]> => page.locator('[data-is="words"]').allInnerTexts()
const shows = (page: Page, wanted: string[]): Promise<unknown> =>
  waitFor(`the events ${wanted.join()}`, async () => {
    const seen = await words(page)
    return seen.join() === wanted.join() || Promise.reject(new Error(seen.join()))
  })

test('without events the page says what makes them; then they come by themselves', async () => {
  const { page, complaints } = await suite.open('/')
  await page.getByRole('link', { name: 'Events', exact: true }).click()
  await page.getByRole('heading', { name: 'No events yet' }).waitFor()
  expect(await page.locator('code', { hasText: 'ei-event-service' }).count()).toBe(1)
  await page.getByRole('link', { name: 'Choose a camera' }).waitFor()
  await write('gate-1', 1, { kind: 'zone', zone: 'till' })
  await shows(page, ['entered zone till'])
  await write('hall', 2, {
    kind: 'line',
    phase: 'end',
    zone: 'door',
    direction: 'in',
    label: 'car',
  })
  await shows(page, ['crossed line door inwards', 'entered zone till'])
  // Another revision of the first event is the same row.
  await write('gate-1', 1, {
    rev: 2,
    kind: 'zone',
    zone: 'till',
    phase: 'end',
    duration_s: 42,
  })
  await shows(page, ['left zone till', 'crossed line door inwards'])
  const text = await rows(page).first().innerText()
  expect(text).toMatch(/\d\d:\d\d:\d\d\s+gate-1\s*people\s+left zone till\s+person\s+82 %\s+42 s/)
  await page.getByRole('link', { name: 'gate-1', exact: true }).click()
  await waitFor('its live video', () => page.url().endsWith('/stream/gate-1:people:inferred'))
  expect(complaints).toEqual([])
})

test('camera, kind and label select events, also those that come; the address keeps it', async () => {
  await write('gate-1', 11, { kind: 'zone', zone: 'safe' })
  await write('hall', 12, { label: 'dog' })
  const { page, complaints } = await suite.open('/events')
  await waitFor('the newest', async () => (await words(page))[0] === 'dog seen')
  await page.getByLabel(/^Label/).selectOption('dog')
  await shows(page, ['dog seen'])
  await page.getByLabel(/^Camera/).selectOption('gate-1')
  await page.getByText('No events match these filters.').waitFor()
  await page.getByLabel(/^Label/).selectOption('All')
  await page.getByLabel(/^Kind/).selectOption('Lines')
  await page.getByText('No events match these filters.').waitFor()
  expect(new URL(page.url()).search).toBe('?camera=gate-1&kind=line')
  await page.reload()
  await page.getByText('No events match these filters.').waitFor()
  await write('hall', 13, {
    kind: 'line',
    phase: 'end',
    zone: 'door',
    direction: 'out',
  })
  await write('gate-1', 14, {
    kind: 'line',
    phase: 'end',
    zone: 'rail',
    direction: 'out',
  })
  await shows(page, ['crossed line rail outwards'])
  await page.getByLabel(/^Camera/).selectOption('All')
  await waitFor('the other line', async () => (await words(page))[1] === 'crossed line door outwards')
  expect(complaints).toEqual([])
})

test('older events come page by page, to the first', async () => {
  const camera = `yard-${Date.now()}`
  for (let n = 100; n < 219; n += 1) send(camera, n)
  await write(camera, 219)
  const { page, complaints } = await suite.open(`/events?camera=${camera}`)
  await waitFor('a page', async () => (await rows(page).count()) === 100)
  await page.getByRole('button', { name: 'Older' }).click()
  await page.getByText('There are no older events.').waitFor()
  expect(await rows(page).count()).toBe(120)
  expect(complaints).toEqual([])
})

test('a camera has its events on a timeline; a click or a key shows one, which leads to its live video', async () => {
  const camera = `ramp-${Date.now()}`
  const minute = 60_000
  const ago = (minutes: number): number => Date.now() - minutes * minute
  await write(camera, 601, { kind: 'zone', zone: 'till', began_ms: ago(30) })
  const visit = { kind: 'zone', zone: 'till', phase: 'end', rev: 2, duration_s: 600 }
  await write(camera, 601, { ...visit, began_ms: ago(30), ended_ms: ago(20), at_ms: ago(20) })
  await write(camera, 602, { kind: 'line', phase: 'end', zone: 'door', direction: 'in', at_ms: ago(5) })
  const { page, complaints } = await suite.open(`/events?camera=${camera}`)
  const timeline = page.getByRole('region', { name: `Timeline of ${camera}` })
  const bar = (n: number): Locator => timeline.locator(`[data-bar*="/1-${n}-"]`)
  await bar(601).waitFor()
  const track = (await bar(601).locator('..').boundingBox())!
  const share = async (n: number): Promise<number[]> => {
    const box = (await bar(n).boundingBox())!
    return [box.x - track.x, box.width].map((pixels) => pixels / track.width)
  }
  // Of an hour, and an hour ends some seconds after now. A slow machine takes a minute.
  const [left, width] = await share(601)
  expect(Math.abs(left! - 0.5)).toBeLessThan(0.05)
  expect(Math.abs(width! - 1 / 6)).toBeLessThan(0.02)
  await bar(601).click()
  const chosen = timeline.getByRole('table', { name: 'Chosen event' })
  await chosen.getByText('left zone till').waitFor()
  // What happens now comes by itself, and the arrows lead to it.
  await write(camera, 603, { kind: 'object', label: 'dog' })
  await bar(603).waitFor()
  await bar(601).press('ArrowUp')
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('Enter')
  await chosen.getByText('dog seen').waitFor()
  if (process.env.EI_EVENTS_SHOTS) await page.screenshot({ path: `${process.env.EI_EVENTS_SHOTS}/timeline.png` })
  expect(await axeFindings(page)).toEqual([])
  await page.setViewportSize({ width: 360, height: 740 })
  await waitFor('no sideways scrolling', () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth))
  if (process.env.EI_EVENTS_SHOTS) await page.screenshot({ path: `${process.env.EI_EVENTS_SHOTS}/timeline-phone.png` })
  await chosen.getByRole('link', { name: camera }).click()
  await waitFor('its live video', () => page.url().endsWith(`/stream/${camera}:people:inferred`))
  expect(complaints).toEqual([])
})

test('what goes wrong is said, and can be tried again', async () => {
  await write('roof', 301)
  const { page, complaints } = await suite.open('/pool', {}, [/status of 503/])
  const body = JSON.stringify({
    error: { code: 'unavailable', message: 'The events cannot be read now.' },
  })
  await page.route('**/api/events/log?*', (route) => route.fulfill({ status: 503, body }))
  await page.getByRole('link', { name: 'Events', exact: true }).click()
  await page.getByRole('alert').getByText('The events cannot be read now.').waitFor()
  await page.unroute('**/api/events/log?*')
  await page.getByRole('button', { name: 'Try again' }).click()
  await rows(page).first().waitFor()
  expect(await page.getByRole('alert').count()).toBe(0)
  expect(complaints).toEqual([])
})

test.each(['dark', 'light'] as const)(
  'axe finds nothing in the %s theme, and a phone shows everything',
  async (colorScheme) => {
    const image = { image: [320, 240], snapshot_box: [0.1, 0.1, 0.4, 0.9] }
    const stay = { kind: 'dwell', zone: 'till', duration_s: 42, ...image }
    await write('a-camera-with-a-long-name-at-the-loading-ramp', 401, stay)
    const { page, complaints } = await suite.open('/login', { colorScheme })
    // Signed in, there is one more button.
    await page.route('**/api/session', async (route) => {
      const session = (await (await route.fetch()).json()) as object
      await route.fulfill({
        json: { ...session, login_required: true, logged_in: true },
      })
    })
    await page.goto(`${suite.system.url}/events`)
    await rows(page).first().waitFor()
    expect(await axeFindings(page)).toEqual([])
    await page.setViewportSize({ width: 360, height: 740 })
    await waitFor('no sideways scrolling', () =>
      page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
    )
    expect(await axeFindings(page)).toEqual([])
    if (process.env.EI_EVENTS_SHOTS)
      await page.screenshot({ path: `${process.env.EI_EVENTS_SHOTS}/${colorScheme}-phone.png` })
    // Beside a long name, however long, the type stands whole in a line of its own.
    const broken = await page
      .locator('.who')
      .first()
      .evaluate((cell) => {
        const [name, type] = [cell.querySelector('.name')!, cell.querySelector('.type')!]
        const tall = Array.from({ length: 30 }, (_, letters) => {
          name.textContent = 'w'.repeat(letters + 5)
          return type.getBoundingClientRect().height
        })
        return tall.filter((height) => height > 30)
      })
    expect(broken).toEqual([])
    const top = async (name: string, role: 'link' | 'button'): Promise<number> => {
      const box = (await page.getByRole('banner').getByRole(role, { name }).boundingBox())!
      return box.y + box.height / 2
    }
    expect(Math.abs((await top('Streams', 'link')) - (await top('Sign out', 'button')))).toBeLessThan(10)
    expect(complaints).toEqual([])
  },
)

// The last one: each page that shows its events complains of the missing image.
test('an event has its image with its box, larger on a click or by key; a missing one says why', async () => {
  await write('court', 501, {
    image: [640, 480],
    snapshot_box: [0.25, 0.5, 0.75, 1],
  })
  await write('court', 502, { image: null })
  await write('court', 503, { snapshot_reason: 'The pod did not answer.' })
  const { page, complaints } = await suite.open('/events?camera=court', {}, [/status of 404/])
  const row = (n: number): Locator => page.locator(`[data-event*="/1-${n}-"]`)
  let asked = 0
  page.on('request', (request) => {
    if (request.url().includes('image=1-502')) asked += 1
  })
  const thumbnail = row(501).getByRole('img', { name: 'Image: person at court' })
  const width = (image: Locator): Promise<number> => image.evaluate((img: HTMLImageElement) => img.naturalWidth)
  await waitFor('the thumbnail', async () => (await width(thumbnail)) === 640, 30_000)
  const box = row(501).locator('rect')
  await box.waitFor()
  expect(await Promise.all(['x', 'y', 'width', 'height'].map((name) => box.getAttribute(name)))).toEqual([
    '160',
    '240',
    '320',
    '240',
  ])
  await row(502).getByText('Image no longer kept').and(page.locator('[title*="EVENT_SNAPSHOT_S"]')).waitFor()
  await row(503).locator('[title="The pod did not answer."]').waitFor()
  // What the server has said is missing is not asked for again: the browser would log each refusal.
  expect(asked).toBe(2)
  await page.getByRole('link', { name: 'Streams', exact: true }).click()
  await page.goBack()
  await row(502).getByText('Image no longer kept').and(page.locator('[title*="EVENT_SNAPSHOT_S"]')).waitFor()
  await waitFor('the thumbnail again', async () => (await width(thumbnail)) === 640, 30_000)
  expect(asked).toBe(2)
  for (const opens of [(button: Locator) => button.click(), (button: Locator) => button.press('Enter')]) {
    await opens(row(501).getByRole('button', { name: 'Enlarge: person at court' }))
    const dialog = page.getByRole('dialog', { name: 'person at court' })
    await waitFor('the large image', async () => (await width(dialog.getByRole('img'))) === 640)
    expect(await axeFindings(page)).toEqual([])
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
  }
  expect(complaints).toEqual([])
})
