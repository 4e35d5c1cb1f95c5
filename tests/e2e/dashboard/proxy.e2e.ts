/** The dashboard below a path of a real nginx, with and without TLS there. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'

import { openPage } from './browser'
import { Nginx, nginxBinary } from './nginx'
import { live, tile, useSuite } from './suite'
import { type Service, waitFor } from './system'

const TOKEN = 'open-sesame-4711'
const STREAM = 'gate-1:people'
const folder = mkdtempSync(join(tmpdir(), 'ei-proxy-'))
afterAll(() => rmSync(folder, { recursive: true }))
const suite = useSuite({
  token: TOKEN,
  streams: [STREAM, 'gate-2:people'],
  env: {
    TRUSTED_PROXIES: '127.0.0.1',
    CAMERAS_FILE: join(folder, 'cameras.yaml'),
    CAMERA_NETWORKS: '127.0.0.0/8',
    SINK_NETWORKS: '127.0.0.0/8',
  },
})
let nginx: Nginx | undefined
// A laptop without nginx skips these; CI must have it.
const withNginx = test.skipIf(!nginxBinary && !process.env.CI)
const REFUSED = [/status of 401/, /WebSocket connection to/]

afterEach(async () => {
  await nginx?.stop()
  nginx = undefined
})

const send = (method: string, path: string, body: object): Promise<Response> =>
  fetch(`${suite.system.url}/api${path}`, {
    method,
    headers: {
      Authorization: `Bearer ${TOKEN}`,
      'Content-Type': 'application/json',
    },
    body: JSON.stringify(body),
  })

let writer: Service
beforeAll(async () => {
  suite.system.start('housekeeping', 'apps/housekeeping_service.py')
  suite.system.start('event service', 'apps/event_service.py')
  writer = suite.system.start('event writer', 'tests/support/event_writer.py')
  const camera = {
    name: 'gate-1',
    url: 'rtsp://127.0.0.1:9/none',
    types: ['people'],
  }
  await waitFor('the camera', async () => [201, 409].includes((await send('POST', '/cameras', camera)).status), 60_000)
  const sink = {
    kind: 'webhook',
    url: 'http://127.0.0.1:9/events',
    cameras: ['none'],
  }
  await waitFor('the sink', async () => (await send('PUT', '/sinks/hook', sink)).ok, 60_000)
})

/** Each view of the router, and its title. */
const VIEWS = {
  '/': 'Streams',
  [`/stream/${STREAM}:inferred`]: 'gate-1',
  '/compare': 'Compare',
  '/compare/gate-1': 'Compare',
  '/cameras': 'Cameras',
  '/cameras/new': 'Add a camera',
  '/camera/gate-1': 'Camera',
  '/camera/gate-1/zones': 'Zones and lines',
  '/events': 'Events',
  '/sinks': 'Sinks',
  '/sinks/new': 'Add a sink',
  '/sink/hook': 'Sink',
  '/pool': 'Pool',
  '/no/such/page': 'Not found',
}

/** What the browser asks the host for outside of /ei. */
function strays(page: Page): string[] {
  const found: string[] = []
  const check = (url: string): void => {
    const { pathname, protocol } = new URL(url)
    if (/^(http|ws)/.test(protocol) && !/^\/ei(\/|$)/.test(pathname)) found.push(url)
  }
  page.on('request', (request) => check(request.url()))
  page.on('websocket', (socket) => check(socket.url()))
  return found
}

/** A session for any path of the host, from a login as programs do it. */
async function signedIn(): Promise<NonNullable<Exclude<BrowserContextOptions['storageState'], string>>> {
  const body = JSON.stringify({ token: TOKEN })
  const answer = await fetch(`${suite.system.url}/api/login`, {
    method: 'POST',
    body,
  })
  const value = /ei_session=([^;]+)/.exec(answer.headers.get('Set-Cookie') ?? '')![1]!
  const fixed = {
    domain: '127.0.0.1',
    path: '/',
    expires: -1,
    httpOnly: true,
    secure: false,
  } as const
  return {
    cookies: [{ name: 'ei_session', value, ...fixed, sameSite: 'Strict' }],
    origins: [],
  }
}

withNginx.each([false, true])('login, live video, events and every view work below /ei/ (TLS: %s)', async (tls) => {
  nginx = await Nginx.start(suite.system.url, tls)
  const base = `${nginx.origin}/ei`
  const { page, complaints } = await openPage(suite.browser, `${base}/pool`, { ignoreHTTPSErrors: tls }, REFUSED)
  await page.getByLabel('Token').fill(TOKEN)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Pool' }).waitFor()
  expect(page.url()).toBe(`${base}/pool`)
  const [cookie] = await page.context().cookies(`${base}/`)
  expect(cookie).toMatchObject({ name: 'ei_session', path: '/ei/', secure: tls, httpOnly: true })

  await page.getByRole('link', { name: 'Streams' }).click()
  expect(page.url()).toBe(`${base}/`)
  await live(page, 2)
  await tile(page, STREAM).locator('a').first().click()
  await page.waitForURL(`${base}/stream/${STREAM}:inferred*`)
  await live(page, 1)
  // Loaded again from the proxy, two levels below its root.
  await page.reload()
  await live(page, 1)
  const snapshot = await page.evaluate(async (path) => {
    const answer = await fetch(path)
    return [answer.status, answer.headers.get('Content-Type')]
  }, `/ei/api/streams/${STREAM}:inferred/snapshot.jpg`)
  expect(snapshot).toEqual([200, 'image/jpeg'])
  await page.goto(`${base}/compare/gate-1`)
  await live(page, 1)
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  expect(complaints).toEqual([])
})

withNginx.each([
  ['as documented', {}],
  ['with a location without a slash', { 'location /ei/ {': 'location /ei {' }],
])('each view, opened and loaded at /ei, asks only below it: %s', { timeout: 180_000 }, async (_how, changes) => {
  nginx = await Nginx.start(suite.system.url, false, changes)
  const base = `${nginx.origin}/ei`
  const { page, complaints } = await openPage(suite.browser, `${base}/api/session`, {}, REFUSED)
  const outside = strays(page)
  const sockets: string[] = []
  page.on('websocket', (socket) => sockets.push(new URL(socket.url()).pathname))
  await page.goto(base)
  await page.getByLabel('Token').fill(TOKEN)
  await page.keyboard.press('Enter')
  await live(page, 2)
  expect(new URL(page.url()).pathname).toMatch(/^\/ei\/?$/)
  // An image that no event service knows is kept for a minute.
  writer.child.stdin!.write(`${JSON.stringify({ camera: 'gate-1', n: Date.now(), image: [64, 48] })}\n`)
  await page.goto(`${base}/events`)
  await imageLoads(page, '[data-event] img')
  for (const [path, title] of Object.entries(VIEWS)) {
    await page.goto(base + path)
    await waitFor(`the title of ${path}`, async () => (await page.title()) === `${title} · Elastic Inference`)
    await page.getByRole('heading', { level: 1 }).first().waitFor({ state: 'attached' })
    expect(new URL(page.url()).pathname).toBe(`/ei${path}`)
    if (path === '/cameras') await imageLoads(page, '[data-camera="gate-1"] img')
  }
  await page.goto(`${base}/cameras`)
  await page.getByRole('link', { name: 'gate-1' }).first().click()
  await waitFor('the page of the camera', () => new URL(page.url()).pathname.startsWith('/ei/camera/gate-1'))
  await page.goBack()
  await page.getByRole('link', { name: 'Pool' }).click()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  await page.goto(`${base}/pool`)
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  expect(new Set(sockets)).toContain(`/ei/${STREAM}:inferred`)
  expect([outside, complaints]).toEqual([[], []])
})

const imageLoads = (page: Page, selector: string): Promise<unknown> =>
  waitFor(
    `the image of ${page.url()}`,
    () =>
      page
        .locator(selector)
        .first()
        .evaluate((image: HTMLImageElement) => image.naturalWidth > 0),
    30_000,
  )

withNginx('a tile says why the page is refused, where the proxy changes the host', async () => {
  nginx = await Nginx.start(suite.system.url, false, {
    'proxy_set_header Host $http_host;': 'proxy_set_header Host $proxy_host;',
    'proxy_set_header X-Forwarded-Host $http_host;': '',
  })
  const { page } = await openPage(suite.browser, `${nginx.origin}/ei/`, {
    storageState: await signedIn(),
  })
  const refused = tile(page, STREAM)
  await refused.getByText('the server refuses this page').waitFor()
  await refused.getByText(`Pages of ${nginx.origin} are refused`).waitFor()
  const lines = (): string[] => suite.system.gateway.words.filter((line) => line.includes('are refused'))
  await waitFor('the line in the log', () => lines().length === 1)
})
