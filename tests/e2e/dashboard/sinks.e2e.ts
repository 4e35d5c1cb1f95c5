/** The page of sinks against a real event service: one is added, tested, refuses an event, gets it again, and goes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Locator, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'

import { axeFindings } from './accessibility'
import { useSuite } from './suite'
import { type Service, waitFor } from './system'

const folder = mkdtempSync(join(tmpdir(), 'ei-sinks-'))
const suite = useSuite()
const got: IncomingHttpHeaders[] = []
let answer = 204
let server: Server
let writer: Service

beforeAll(async () => {
  server = createServer((request, response) => {
    request.resume().on('end', () => {
      if (answer < 300) got.push(request.headers)
      response.writeHead(answer).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  writeFileSync(join(folder, 'sinks.yaml'), 'sinks: [{name: look, kind: log}]\n')
  suite.system.start('event service', 'apps/event_service.py', {
    SINKS_FILE: join(folder, 'sinks.yaml'),
    SINK_NETWORKS: '127.0.0.0/8',
  })
  writer = suite.system.start('event writer', 'tests/support/event_writer.py')
})
beforeEach(() => {
  answer = 204
})
afterAll(() => {
  server.close()
  rmSync(folder, { recursive: true })
})

const row = (page: Page, name: string): Locator => page.locator(`[data-sink="${name}"]`)
const delivers = (page: Page, name: string): Promise<unknown> =>
  waitFor(
    `${name} delivers`,
    async () => (await row(page, name).getAttribute('data-condition')) === 'delivering',
    45_000,
  )
const address = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`

/** Another one for each test, and for each attempt. */
async function added(): Promise<string> {
  const name = `hook-${Date.now()}`
  const body = JSON.stringify({
    kind: 'webhook',
    url: address(),
    cameras: [name],
  })
  const answered = await fetch(`${suite.system.url}/api/sinks/${name}`, {
    method: 'PUT',
    body,
  })
  expect(answered.status).toBe(200)
  return name
}

test('a sink is added and tested; one of the file is only shown', { timeout: 120_000 }, async () => {
  await fetch(`${suite.system.url}/api/sinks/hook`, { method: 'DELETE' })
  got.length = 0
  const { page, complaints } = await suite.open('/events', {}, [/status of 400/])
  await page.getByRole('link', { name: 'Sinks', exact: true }).click()
  await delivers(page, 'look')
  expect(await row(page, 'look').getByRole('button').allInnerTexts()).toEqual(['Test'])
  await page.getByRole('link', { name: 'Add a sink' }).click()
  await page.getByLabel('Name', { exact: true }).fill('look')
  await page.getByLabel('Address').fill('https://user:word@127.0.0.1/events')
  await page.getByRole('button', { name: 'Add sink' }).click()
  await page.getByText('There is a sink of this name already.').waitFor()
  await page.getByLabel('Name', { exact: true }).fill('hook')
  await page.getByRole('button', { name: 'Add sink' }).click()
  await page.locator('[data-field="url"]').getByText('Expected no login in the URL').waitFor()
  await page.getByLabel('Address').fill(address())
  await page.keyboard.press('Enter')
  await delivers(page, 'hook')
  await row(page, 'hook').getByRole('button', { name: 'Test hook' }).click()
  await row(page, 'hook').getByText('has confirmed the event test/').waitFor()
  expect(got.filter((headers) => String(headers['ce-id']).startsWith('test/'))).toHaveLength(1)
  await page.getByRole('link', { name: 'Show look' }).click()
  await page.getByText('This sink is in the file that').waitFor()
  expect(await page.getByRole('form').count()).toBe(0)
  expect(complaints).toEqual([])
})

test('a dead letter is seen and sent again', { timeout: 120_000 }, async () => {
  const hook = await added()
  const { page, complaints } = await suite.open('/sinks')
  await delivers(page, hook)
  answer = 400
  writer.child.stdin!.write(`${JSON.stringify({ camera: hook, n: 1, kind: 'zone', zone: 'till' })}\n`)
  await row(page, hook)
    .getByRole('link', { name: `1 dead letter of ${hook}` })
    .click({ timeout: 45_000 })
  const letter = page.locator('[data-letter]')
  await letter.getByText(`${hook}: entered zone till`).waitFor()
  expect(await letter.innerText()).toContain('400')
  await letter.getByRole('button', { name: 'Send again' }).click()
  await page.getByText('0 events delivered.').waitFor()
  answer = 204
  await letter.getByRole('button', { name: 'Send again' }).click()
  await page.getByText('1 event delivered.').waitFor()
  await page.getByText('There are none.').waitFor()
  expect(got.at(-1)!['ce-resent']).toBe('true')
  writer.child.stdin!.write(`${JSON.stringify({ camera: hook, n: 2 })}\n`)
  await page.goto(`${suite.system.url}/sinks`)
  const delivered = row(page, hook).locator('[data-is="delivered"]')
  await waitFor('the next one is counted', async () => (await delivered.innerText()) === '1', 45_000)
  expect(complaints).toEqual([])
})

test('dead letters are deleted, with an undo', { timeout: 120_000 }, async () => {
  const hook = await added()
  const { page, complaints } = await suite.open('/sinks')
  await delivers(page, hook)
  answer = 400
  for (const n of [1, 2, 3])
    writer.child.stdin!.write(`${JSON.stringify({ camera: hook, n, kind: 'zone', zone: `till-${n}` })}\n`)
  await row(page, hook)
    .getByRole('link', { name: `3 dead letters of ${hook}` })
    .click({ timeout: 45_000 })
  const letters = page.locator('[data-letter]')
  const kept = async (): Promise<number> => {
    const found = await fetch(`${suite.system.url}/api/sinks/${hook}/dead`)
    return ((await found.json()) as { count: number }).count
  }
  await page.getByRole('button', { name: `Delete: ${hook}: entered zone till-2` }).click()
  await waitFor('two lines', async () => (await letters.count()) === 2)
  await page.getByRole('button', { name: /^Undo: keep Dead letter/ }).click()
  await waitFor('three lines', async () => (await letters.count()) === 3)
  await page.getByRole('button', { name: `Delete: ${hook}: entered zone till-2` }).click()
  await waitFor('one is gone', async () => (await kept()) === 2)
  expect(await letters.allInnerTexts()).toHaveLength(2)
  await page.getByRole('button', { name: 'Delete all' }).click()
  await page.getByText('There are none.').waitFor()
  expect(await axeFindings(page)).toEqual([])
  // Leaving the page sends the request at once.
  await page.getByRole('link', { name: 'Back to all sinks' }).click()
  await waitFor('all are gone', async () => (await kept()) === 0)
  expect(complaints).toEqual([])
})

test('a sink that somebody else has changed is not overwritten', { timeout: 120_000 }, async () => {
  const hook = await added()
  const { page } = await suite.open(`/sink/${hook}`)
  const lines = page.getByRole('checkbox', { name: 'Lines' })
  await lines.check()
  const body = JSON.stringify({
    kind: 'webhook',
    url: address(),
    cameras: [hook],
    kinds: ['dwell'],
  })
  await fetch(`${suite.system.url}/api/sinks/${hook}`, {
    method: 'PUT',
    body,
  })
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText('Somebody has changed the sink in the meantime').waitFor()
  await page.getByRole('button', { name: 'Load the new version' }).click()
  await waitFor('the form is new', async () => page.getByRole('checkbox', { name: 'Long stays' }).isChecked())
  expect(await lines.isChecked()).toBe(false)
  await lines.check()
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText('Saved.').waitFor()
})

test('a sink is changed, and removed with an undo', { timeout: 120_000 }, async () => {
  const hook = await added()
  const { page, complaints } = await suite.open(`/sink/${hook}`)
  await page.getByRole('checkbox', { name: 'Lines' }).check()
  await page.getByLabel('Deliver events to it').uncheck()
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText('Saved.').waitFor()
  await page.getByRole('link', { name: 'Back to all sinks' }).click()
  await row(page, hook).getByText('kinds: Lines').waitFor()
  await row(page, hook).getByText('switched off').waitFor()
  await page.getByRole('button', { name: `Remove ${hook}` }).click()
  await row(page, hook).waitFor({ state: 'detached' })
  await page.getByRole('button', { name: `Undo: keep ${hook}` }).click()
  await row(page, hook).waitFor()
  await page.getByRole('button', { name: `Remove ${hook}` }).click()
  // Leaving the page sends the request at once.
  await page.getByRole('link', { name: 'Back to the events' }).click()
  const gone = async (): Promise<boolean> => (await fetch(`${suite.system.url}/api/sinks/${hook}`)).status === 404
  await waitFor('it is gone', gone)
  expect(complaints).toEqual([])
})

test.each(['dark', 'light'] as const)(
  'axe finds nothing in the %s theme, and nothing is cut off',
  { timeout: 120_000 },
  async (colorScheme) => {
    const { page, complaints } = await suite.open('/sinks', { colorScheme })
    await row(page, 'look').waitFor()
    for (const [path, shows] of [
      ['/sinks', '[data-sink="look"]'],
      ['/sinks/new', 'summary'],
      ['/sink/look', '[data-is="file"]'],
    ] as const) {
      await page.setViewportSize({ width: 1280, height: 800 })
      await page.goto(suite.system.url + path)
      await page.locator(shows).waitFor()
      if (shows === 'summary') await page.locator(shows).click()
      const shot = async (size: string): Promise<void> => {
        if (process.env.EI_SINKS_SHOTS)
          await page.screenshot({
            path: `${process.env.EI_SINKS_SHOTS}/${colorScheme}-${size}-${path.replaceAll('/', '_')}.png`,
            fullPage: true,
          })
      }
      await shot('wide')
      expect(await axeFindings(page)).toEqual([])
      await page.setViewportSize({ width: 360, height: 740 })
      await waitFor('no sideways scrolling', () =>
        page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
      )
      await shot('phone')
    }
    expect(complaints).toEqual([])
  },
)
