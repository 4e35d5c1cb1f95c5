/** The cameras of the pool: added, changed, paused and removed in a browser, against the services that keep them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Locator, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { axeFindings } from './accessibility'
import { HttpCamera } from './http_camera'
import { live, tile, useSuite } from './suite'
import { waitFor } from './system'

// Chromium logs every refusal itself.
const REFUSED = [/status of 4(00|09|12|22)/]
const folder = mkdtempSync(join(tmpdir(), 'ei-cameras-'))
const file = join(folder, 'cameras.yaml')
afterAll(() => rmSync(folder, { recursive: true }))
// Its results come from a publisher: there is no pod here.
const suite = useSuite({ streams: ['dock-1:people'], env: { CAMERAS_FILE: file, CAMERA_NETWORKS: '127.0.0.0/8' } })
let source: HttpCamera
const LOGIN = { user: 'guest', password: 's@cret' }
afterAll(() => source?.stop())

interface Camera {
  revision: number
  spec: { enabled: boolean; fps: number; url: string; substream?: string | null }
  status: { width?: number | null; reason?: string | null }
}

const api = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`${suite.system.url}/api/cameras${path}`, { ...init, headers: { 'Content-Type': 'application/json' } })
const camera = async (name: string): Promise<Camera | null> => {
  const response = await api(`/${name}`)
  return response.ok ? ((await response.json()) as Camera) : null
}
async function addByApi(name: string, more: object = {}): Promise<void> {
  await api(`/${name}`, { method: 'DELETE' }) // a first try that failed left it
  const body = { name, url: 'rtsp://127.0.0.1:9/none', types: ['people'], ...more }
  const response = await api('', { method: 'POST', body: JSON.stringify(body) })
  expect(response.status, await response.text()).toBe(201)
}
const row = (page: Page, name: string): Locator => page.locator(`[data-camera="${name}"]`)
const state = (page: Page, name: string, word: string): Promise<unknown> =>
  waitFor(
    `${name} ${word}`,
    async () => (await row(page, name).locator('[data-is="state"]').innerText()) === word,
    30_000,
  )
const field = (page: Page, name: string): Locator => page.locator(`[data-field="${name}"]`)

/** A check says why there is no image, or shows it. */
async function checkBeforeSaving(page: Page): Promise<void> {
  await page.getByLabel('Password').fill('wrong')
  await page.getByRole('button', { name: 'Check' }).click()
  await page.locator('[data-probe="failed"]').getByText('refuses the user name or password').waitFor()
  await page.getByLabel('Password').fill('s@cret')
  await page.getByRole('button', { name: 'Check' }).click()
  await page.locator('[data-probe="done"]').getByText('640 × 360').waitFor()
  const preview = page.getByAltText('First frame of the camera')
  await waitFor('the preview', () => preview.evaluate((image: HTMLImageElement) => image.naturalWidth === 640))
  expect(await camera('dock-1')).toBeNull()
}

beforeAll(async () => {
  suite.system.start('housekeeping', 'apps/housekeeping_service.py')
  suite.system.start('source worker', 'apps/camera_stream_service.py', { CAMERA_POOL: 'true' })
  source = await HttpCamera.start(suite.browser, LOGIN.user, LOGIN.password)
  await waitFor('an owner of the cameras', async () => {
    const { problem } = (await (await api('')).json()) as { problem: string | null }
    return problem === null ? true : Promise.reject(new Error(problem))
  })
  // On a busy machine, it starts long after the page that asks it for a check.
  const nowhere = JSON.stringify({ url: 'rtsp://127.0.0.1:9/none', transport: 'tcp' })
  const probe = async (): Promise<string> => (await api('/probe', { method: 'POST', body: nowhere })).text()
  await waitFor('a source worker', async () => !(await probe()).includes('No source worker'), 60_000)
})

test('a camera is added, with its mistakes shown at their fields', async () => {
  const { page, complaints } = await suite.open('/cameras', {}, REFUSED)
  await page.getByRole('link', { name: 'Add a camera' }).click()
  await page.getByRole('button', { name: 'Add camera' }).click()
  await field(page, 'name').getByText('Enter a name.').waitFor()
  await field(page, 'types').getByText('Choose at least one type.').waitFor()
  expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('name')
  await page.getByLabel('Name').fill('dock-1')
  await page.getByLabel('Address').fill('gopher://camera.example/1')
  await page.getByRole('button', { name: 'people', exact: true }).click()
  await page.getByRole('button', { name: 'Add camera' }).click()
  await waitFor('the server to name the field', async () =>
    /rtsp/.test(await field(page, 'url').getByRole('alert').innerText()),
  )
  // A login moves out of the address.
  await page.getByLabel('Address').fill(source.url.replace('http://', 'http://guest:s%40cret@'))
  await page.keyboard.press('Tab')
  expect(await page.getByLabel('Address').inputValue()).toBe(source.url)
  expect(await page.getByLabel('User').inputValue()).toBe('guest')
  await checkBeforeSaving(page)
  await page.getByText('More settings').click()
  await page.getByLabel('Labels').fill('site=north')
  await page.getByRole('button', { name: 'Add camera' }).click()
  await state(page, 'dock-1', 'live')
  await waitFor('its rate', async () => /\b(9|10|11)\b/.test(await row(page, 'dock-1').innerText()))
  const kept = readFileSync(file, 'utf8')
  expect(kept).toContain('s@cret')
  expect(await (await api('')).text()).not.toContain('s@cret')
  // The name is taken now.
  await page.goto(`${suite.system.url}/cameras/new`)
  await page.getByLabel('Name').fill('dock-1')
  await page.getByLabel('Address').fill('rtsp://camera.example/1')
  await page.getByRole('button', { name: 'people', exact: true }).click()
  await page.getByRole('button', { name: 'Add camera' }).click()
  await waitFor('the name to be refused', async () => (await field(page, 'name').getByRole('alert').innerText()) !== '')
  expect(complaints).toEqual([])
})

test('a camera is changed and paused; what somebody else changed is not overwritten', async () => {
  await addByApi('gate-7', { url: source.url, login: LOGIN })
  // Without events, the page asks.
  const { page, complaints } = await suite.open('/login', {}, [...REFUSED, /ERR_FAILED/])
  await page.route('**/api/events', (route) => route.abort())
  await page.goto(`${suite.system.url}/cameras`)
  await row(page, 'gate-7').getByRole('link', { name: 'gate-7', exact: true }).click()
  await page.getByText('The camera has a login.').waitFor()
  await page.getByText('More settings').click()
  await page.getByLabel('Frames per second').fill('5')
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByText('Saved.').waitFor()
  expect((await camera('gate-7'))?.spec.fps).toBe(5)
  expect(readFileSync(file, 'utf8').match(/s@cret/g)).toHaveLength(2)
  // Somebody else is faster by a moment.
  await page.route('**/api/cameras/gate-7', async (route) => {
    if (route.request().method() === 'PATCH')
      await api('/gate-7', { method: 'PATCH', body: JSON.stringify({ quality: 50 }) })
    await route.fallback()
  })
  await page.getByLabel('Frames per second').fill('7')
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByText('Somebody has changed this camera').waitFor()
  await page.unroute('**/api/cameras/gate-7')
  expect((await camera('gate-7'))?.spec.fps).toBe(5)
  await page.getByRole('button', { name: 'Load the new version' }).click()
  await waitFor('the newer state', async () => (await page.getByLabel('JPEG quality').inputValue()) === '50')
  expect(await page.getByLabel('Frames per second').inputValue()).toBe('5')
  await page.getByRole('link', { name: 'Back to all cameras' }).click()
  await page.getByRole('button', { name: 'Pause gate-7' }).click()
  await state(page, 'gate-7', 'paused')
  expect((await camera('gate-7'))?.spec.enabled).toBe(false)
  await page.getByRole('button', { name: 'Resume gate-7' }).click()
  await state(page, 'gate-7', 'live')
  expect(complaints).toEqual([])
})

test('a substream is set in the form, and is read while nobody watches', async () => {
  await addByApi('yard-1', { url: source.url, login: LOGIN })
  const { page, complaints } = await suite.open('/camera/yard-1', {}, REFUSED)
  await page.getByText('More settings').click()
  await page.getByLabel('Substream').fill('gopher://camera.example/2')
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await field(page, 'substream').getByRole('alert').getByText('rtsp').waitFor()
  await page.getByLabel('Substream').fill(source.smallUrl)
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByText('Saved.').waitFor()
  expect((await camera('yard-1'))?.spec.substream).toBe(source.smallUrl)
  await page.close()
  await waitFor('the substream', async () => (await camera('yard-1'))?.status.width === 320, 60_000)
  expect((await camera('yard-1'))?.status.reason ?? null).toBeNull()
  expect((await api('/yard-1', { method: 'DELETE' })).status).toBe(204)
  expect(complaints).toEqual([])
})

test('a removal can be undone; leaving the page sends it', async () => {
  await addByApi('roof-1', { url: source.url, login: LOGIN })
  await addByApi('roof-2')
  const { page, complaints } = await suite.open('/cameras')
  await state(page, 'roof-1', 'live')
  await page.getByRole('button', { name: 'Remove roof-1' }).click()
  await row(page, 'roof-1').waitFor({ state: 'detached' })
  // The focus is on the button, so that a key undoes it.
  await page.keyboard.press('Enter')
  await state(page, 'roof-1', 'live')
  await page.getByRole('button', { name: 'Remove roof-2' }).click()
  expect(await camera('roof-2')).not.toBeNull()
  await page.getByRole('link', { name: 'Streams' }).click()
  await waitFor('the removal', async () => (await camera('roof-2')) === null)
  await page.goto(`${suite.system.url}/camera/roof-1`)
  await page.getByRole('button', { name: 'Remove' }).click()
  await page.getByText('roof-1 has been removed.').waitFor()
  // Closing the page sends it too.
  await page.close()
  await waitFor('the other removal', async () => (await camera('roof-1')) === null)
  expect(complaints).toEqual([])
})

test('tiles lead to their camera and back; changes by others appear by themselves', async () => {
  await addByApi('hall-3', { labels: { site: 'south' } })
  const { page, complaints } = await suite.open('/')
  await live(page, 1)
  await tile(page, 'dock-1:people').hover()
  await page.getByRole('link', { name: 'Camera dock-1' }).click()
  await page.getByRole('heading', { name: 'dock-1' }).waitFor()
  await page.getByRole('link', { name: 'Open dock-1, people' }).click()
  await page.getByRole('link', { name: 'Camera', exact: true }).click()
  await page.getByRole('link', { name: 'Back to all cameras' }).click()
  await waitFor('a snapshot', async () =>
    row(page, 'dock-1')
      .locator('img')
      .first()
      .evaluate((image: HTMLImageElement) => image.naturalWidth > 0),
  )
  await page.getByLabel('Search').fill('hall')
  expect(await page.locator('[data-camera]').count()).toBe(1)
  await page.goto(`${suite.system.url}/cameras?label=site=south`)
  await row(page, 'hall-3').waitFor()
  await addByApi('hall-4', { labels: { site: 'south' } })
  await row(page, 'hall-4').waitFor()
  expect(await page.locator('[data-camera]').count()).toBe(2)
  await page.getByRole('link', { name: 'Live video of hall-3, people' }).click()
  await waitFor('its stream', () => page.url().endsWith('/stream/hall-3:people:inferred'))
  expect(complaints).toEqual([])
})

test.each(['dark', 'light'] as const)(
  'axe finds nothing in the %s theme, and nothing is cut off',
  async (colorScheme) => {
    const { page, complaints } = await suite.open('/cameras', { colorScheme, viewport: { width: 1280, height: 800 } })
    const check = async (view: string): Promise<void> => {
      expect(await axeFindings(page), view).toEqual([])
      await page.setViewportSize({ width: 360, height: 740 })
      await waitFor(`no sideways scrolling: ${view}`, () =>
        page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
      )
      await page.setViewportSize({ width: 1280, height: 800 })
    }
    await row(page, 'hall-4').waitFor()
    await check('cameras')
    await page.getByRole('link', { name: 'Add a camera' }).click()
    await page.getByText('More settings').click()
    await page.getByRole('button', { name: 'Add camera' }).click()
    await field(page, 'url').getByText('Enter').waitFor()
    await check('add')
    await page.goto(`${suite.system.url}/camera/dock-1`)
    await live(page, 1)
    await check('one camera')
    expect(complaints).toEqual([])
  },
)
