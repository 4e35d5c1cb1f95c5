/** The dashboard for a viewer: its own cameras, nothing about the others, and the end of its token. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, expect, test } from 'vitest'

import { live, names, useSuite } from './suite'
import { waitFor } from './system'

const BOSS = { name: 'boss', role: 'admin', token: 'the-token-of-the-boss' }
const WALL = { name: 'gate wall', role: 'viewer', token: 'the-token-of-the-wall', cameras: ['gate-*'] }
const folder = mkdtempSync(join(tmpdir(), 'ei-roles-'))
const file = join(folder, 'tokens.json')
/** Replaces the file in one step, as editors and Kubernetes do. */
function write(...tokens: object[]): void {
  writeFileSync(`${file}.new`, JSON.stringify({ tokens }))
  renameSync(`${file}.new`, file)
}
write(BOSS, WALL)
afterAll(() => rmSync(folder, { recursive: true }))

const suite = useSuite({
  streams: ['gate-1:people', 'gate-1:face-int8', 'yard-1:people'],
  env: { GATEWAY_TOKENS_FILE: file },
})
// The page asks again with a token that has been removed: the browser logs each refusal.
const REFUSED = [/status of 401/, /EventSource/, /WebSocket connection to .* failed/]

async function signIn(token: string, path = '/') {
  const opened = await suite.open(path, {}, REFUSED)
  await opened.page.getByLabel('Token').fill(token)
  await opened.page.getByRole('button', { name: 'Sign in' }).click()
  return opened
}

test('a viewer sees its cameras and who it is, an admin all and the pool', async () => {
  const { page, complaints } = await signIn(WALL.token)
  await live(page, 2)
  expect(new Set(await names(page))).toEqual(new Set(['gate-1']))
  expect(await page.locator('.who').innerText()).toMatch(/gate wall\s+viewer/)
  expect(await page.locator('[data-total="streams"]').innerText()).toMatch(/2\/2/)
  expect(await page.locator('[data-total="drop"]').count()).toBe(0)
  expect(await page.getByRole('link', { name: 'Pool' }).count()).toBe(0)
  await page.getByRole('link', { name: 'Compare' }).click()
  await page.locator('main h1').waitFor()
  expect(await page.locator('main').innerText()).not.toContain('yard')
  await page.goto(`${suite.system.url}/pool`)
  await page.getByText('Your token shows only some of them').waitFor()
  expect(complaints).toEqual([])

  const { page: whole } = await signIn(BOSS.token)
  await live(whole, 3)
  expect(await whole.locator('.who').innerText()).toBe('boss')
  await whole.getByRole('link', { name: 'Pool' }).click()
  await whole.locator('[data-type="people"]').waitFor()
})

test('a token that is removed leads to the login page within seconds', async () => {
  const { page, complaints } = await signIn(WALL.token)
  await live(page, 2)
  write(BOSS)
  await page.getByRole('heading', { name: 'Sign in' }).waitFor({ timeout: 10_000 })
  await page.getByLabel('Token').fill(WALL.token)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByText('Wrong token.').waitFor()
  await waitFor('no frame is left', async () => (await page.locator('canvas').count()) === 0)
  expect(complaints).toEqual([])
})
