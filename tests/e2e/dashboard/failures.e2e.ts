/** Services that stop and start again, logins and their roles, and plain http from another machine. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Page } from 'playwright-core'
import { afterAll, expect, test } from 'vitest'

import { openPage } from './browser'
import { live, names, useSuite } from './suite'
import { Publisher, System, waitFor } from './system'
import { checkTiles } from './tile_pixels'

const TOKEN = 'open-sesame-4711'
// Chromium itself logs these when a server is unavailable or refuses; the page cannot prevent it.
const UNAVAILABLE = [
  /ERR_(CONNECTION_REFUSED|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|INVALID_HTTP_RESPONSE)/,
  /WebSocket connection to/,
  /status of 50\d/,
]
const REFUSED = [/status of 401/, ...UNAVAILABLE]
const WALL = { name: 'gate wall', role: 'viewer', token: 'open-sesame-4712', cameras: ['gate-1'] }
const LOBBY = { name: 'lobby', role: 'viewer', token: 'open-sesame-4713', cameras: ['*'] }
const folder = mkdtempSync(join(tmpdir(), 'ei-roles-'))
const tokensFile = join(folder, 'tokens.json')
/** Replaces the file in one step, as editors and Kubernetes do. */
function writeTokens(...tokens: object[]): void {
  writeFileSync(`${tokensFile}.new`, JSON.stringify({ tokens }))
  renameSync(`${tokensFile}.new`, tokensFile)
}
writeTokens(WALL, LOBBY)
afterAll(() => rmSync(folder, { recursive: true }))
const suite = useSuite({
  token: TOKEN,
  streams: ['gate-1:people', 'gate-2:people'],
  env: { GATEWAY_TOKENS_FILE: tokensFile },
})

async function signIn(page: Page, token = TOKEN): Promise<void> {
  await page.getByLabel('Token').fill(token)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

test('a token is asked for, checked, and forgotten at sign-out', async () => {
  const { page, complaints } = await suite.open('/pool?q=x', {}, REFUSED)
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  expect(await page.locator('article.tile').count()).toBe(0)
  await page.getByLabel('Token').fill('wrong')
  await page.keyboard.press('Enter')
  await page.getByText('Wrong token.').waitFor()
  await signIn(page)
  // Back to the page that the viewer asked for.
  await page.getByRole('heading', { name: 'Pool' }).waitFor()
  expect(page.url()).toBe(`${suite.system.url}/pool?q=x`)
  await page.getByRole('link', { name: 'Streams' }).click()
  await live(page, 2)
  const cookies = await page.context().cookies()
  expect(cookies.every((cookie) => cookie.httpOnly && cookie.sameSite !== 'None')).toBe(true)
  expect(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))).not.toContain(TOKEN)
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  await page.goto(suite.system.url)
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  expect(complaints).toEqual([])
})

test('the login leads to no other site', async () => {
  const { page } = await suite.open('/login?next=//evil.example/x', {}, REFUSED)
  await signIn(page)
  await live(page, 2)
  expect(new URL(page.url()).host).toBe(new URL(suite.system.url).host)
})

test('a viewer sees its cameras and who it is, an admin the pool too', async () => {
  const { page, complaints } = await suite.open('/', {}, REFUSED)
  await signIn(page, WALL.token)
  await live(page, 1)
  expect(await names(page)).toEqual(['gate-1'])
  expect(await page.locator('.who').innerText()).toMatch(/gate wall\s+viewer/)
  expect(await page.locator('[data-total="streams"]').innerText()).toMatch(/1\/1/)
  expect(await page.locator('[data-total="drop"]').count()).toBe(0)
  expect(await page.getByRole('link', { name: 'Pool' }).count()).toBe(0)
  await page.getByRole('link', { name: 'Compare' }).click()
  await page.locator('main h1').waitFor()
  expect(await page.locator('main').innerText()).not.toContain('gate-2')
  await page.goto(`${suite.system.url}/pool`)
  await page.getByText('Your token shows only some of them').waitFor()
  expect(await page.getByRole('link', { name: 'Cameras', exact: true }).count()).toBe(0)
  for (const path of ['/cameras', '/cameras/new', '/camera/gate-1']) {
    await page.goto(suite.system.url + path)
    await page.getByText('Only an admin').waitFor()
  }
  await page.goto(`${suite.system.url}/pool`)
  await page.getByRole('button', { name: 'Sign out' }).click()
  await signIn(page, LOBBY.token)
  await page.getByText('Only an admin sees the figures of the pool').waitFor()
  expect(await page.locator('[data-total="drop"]').count()).toBe(0)
  expect(await page.getByRole('link', { name: 'Pool' }).count()).toBe(0)
  await page.getByRole('button', { name: 'Sign out' }).click()
  await signIn(page)
  await page.getByRole('link', { name: 'Pool' }).click()
  await page.locator('[data-type="people"]').waitFor()
  expect(await page.locator('.who').innerText()).toBe('admin')
  expect(complaints).toEqual([])
})

test('a token that is removed leads to the login page within seconds', async () => {
  const { page, complaints } = await suite.open('/', {}, REFUSED)
  await signIn(page, WALL.token)
  await live(page, 1)
  writeTokens()
  await page.getByRole('heading', { name: 'Sign in' }).waitFor({ timeout: 10_000 })
  expect(await page.locator('canvas').count()).toBe(0)
  await signIn(page, WALL.token)
  await page.getByText('Wrong token.').waitFor()
  expect(complaints).toEqual([])
})

test('tiles show that the relay is unavailable, and recover', async () => {
  const { page, complaints } = await suite.open('/', {}, REFUSED)
  await signIn(page)
  await live(page, 2)
  await suite.system.relay.stop('SIGKILL')
  await waitFor('dead tiles', async () => (await page.locator('[data-state="dead"]').count()) === 2)
  expect(await page.locator('.notice').first().innerText()).toMatch(/connection lost|no frame for/)
  await suite.system.startRelay()
  await live(page, 2)
  expect(complaints).toEqual([])
})

test('a banner says that the gateway is unavailable, and the page recovers without a reload', async () => {
  const { page, complaints } = await suite.open('/', {}, REFUSED)
  await signIn(page)
  await live(page, 2)
  await page.evaluate(() => Object.assign(window, { sameDocument: true }))
  await suite.system.gateway.stop('SIGKILL')
  await page.getByText(/No connection to the server since \d\d:\d\d:\d\d/).waitFor()
  expect(await page.locator('article.tile').count()).toBe(2)
  await suite.system.startGateway()
  await waitFor(
    'the banner to go',
    async () => (await page.getByText('No connection to the server').count()) === 0,
    30_000,
  )
  // A restarted gateway may or may not know the old login.
  if (await page.getByRole('heading', { name: 'Sign in' }).count()) await signIn(page)
  await live(page, 2)
  expect(await page.evaluate(() => 'sameDocument' in window)).toBe(true)
  expect(complaints).toEqual([])
})

test('the page reloads if the file of a view is gone after an update of the server', async () => {
  const { page } = await suite.open('/', {}, REFUSED)
  await signIn(page)
  await live(page, 2)
  let refused = 0
  await page.route('**/assets/PoolPage-*.js', (route) =>
    refused++ === 0 ? route.fulfill({ status: 404 }) : route.continue(),
  )
  await page.getByRole('link', { name: 'Pool' }).click()
  await page.getByRole('heading', { name: 'Pool' }).waitFor()
  expect(refused).toBe(2)
})

const address = Object.values(networkInterfaces())
  .flat()
  .find((one) => one && one.family === 'IPv4' && !one.internal)?.address

// Not a secure context: no ImageDecoder, no clipboard, no wake lock.
test.skipIf(!address)('plain http from another address shows the same images', async () => {
  const open = await System.start({ host: '0.0.0.0' })
  const streams = await Publisher.start(open.brokerUrl, ['gate-1:people', 'gate-2:people'])
  try {
    const { page, complaints } = await openPage(suite.browser, open.url.replace('127.0.0.1', address!))
    expect(await page.evaluate(() => isSecureContext || 'ImageDecoder' in window)).toBe(false)
    await live(page, 2)
    const seen = await checkTiles(page, 'article.tile', 2)
    expect(seen.checked).toBeGreaterThanOrEqual(5)
    expect(seen.worst).toBeLessThanOrEqual(2)
    await page.goto(`${page.url()}?wall`)
    await live(page, 2)
    expect(complaints).toEqual([])
  } finally {
    await streams.stop()
    await open.stop()
  }
})
