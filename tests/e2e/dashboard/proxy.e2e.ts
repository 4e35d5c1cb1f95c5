/** The dashboard below a path of a real nginx, with and without TLS there. */
import type { BrowserContextOptions } from 'playwright-core'
import { afterEach, expect, test } from 'vitest'

import { openPage } from './browser'
import { Nginx, nginxBinary } from './nginx'
import { live, tile, useSuite } from './suite'
import { waitFor } from './system'

const TOKEN = 'open-sesame-4711'
const STREAM = 'gate-1:people'
const suite = useSuite({ token: TOKEN, streams: [STREAM, 'gate-2:people'], env: { TRUSTED_PROXIES: '127.0.0.1' } })
let nginx: Nginx | undefined
// A laptop without nginx skips these; CI must have it.
const withNginx = test.skipIf(!nginxBinary && !process.env.CI)
const REFUSED = [/status of 401/, /WebSocket connection to/]

afterEach(async () => {
  await nginx?.stop()
  nginx = undefined
})

/** A session for any path of the host, from a login as programs do it. */
async function signedIn(): Promise<NonNullable<Exclude<BrowserContextOptions['storageState'], string>>> {
  const body = JSON.stringify({ token: TOKEN })
  const answer = await fetch(`${suite.system.url}/api/login`, { method: 'POST', body })
  const value = /ei_session=([^;]+)/.exec(answer.headers.get('Set-Cookie') ?? '')![1]!
  const fixed = { domain: '127.0.0.1', path: '/', expires: -1, httpOnly: true, secure: false } as const
  return { cookies: [{ name: 'ei_session', value, ...fixed, sameSite: 'Strict' }], origins: [] }
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

withNginx('a tile says why the page is refused, where the proxy changes the host', async () => {
  nginx = await Nginx.start(suite.system.url, false, {
    'proxy_set_header Host $http_host;': 'proxy_set_header Host $proxy_host;',
    'proxy_set_header X-Forwarded-Host $http_host;': '',
  })
  const { page } = await openPage(suite.browser, `${nginx.origin}/ei/`, { storageState: await signedIn() })
  const refused = tile(page, STREAM)
  await refused.getByText('the server refuses this page').waitFor()
  await refused.getByText(`Pages of ${nginx.origin} are refused`).waitFor()
  const lines = (): string[] => suite.system.gateway.words.filter((line) => line.includes('are refused'))
  await waitFor('the line in the log', () => lines().length === 1)
})
