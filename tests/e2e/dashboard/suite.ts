/** What the tests of one file share: running services, a browser, and helpers to look at tiles. */
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll } from 'vitest'

import { openPage, startBrowser, type WatchedPage } from './browser'
import { Publisher, System, type SystemOptions, waitFor } from './system'

export interface Suite {
  system: System
  browser: Browser
  publisher: Publisher
  /** Opens a path of the dashboard in a browser context of its own; `expected` are console lines the test provokes. */
  open(path: string, options?: BrowserContextOptions, expected?: RegExp[]): Promise<WatchedPage>
}

/** Starts services and browser before the tests of this file; `streams` are published from the start. */
export function useSuite(options: SystemOptions & { streams?: string[] } = {}): Suite {
  const suite = {
    open: (path, page, expected) => openPage(suite.browser, suite.system.url + path, page, expected),
  } as Suite
  beforeAll(async () => {
    const { streams, ...settings } = options
    const beside = async (brokerUrl: string): Promise<void> => {
      if (streams) suite.publisher = await Publisher.start(brokerUrl, streams)
    }
    ;[suite.system, suite.browser] = await Promise.all([System.start({ ...settings, beside }), startBrowser()])
  })
  afterAll(async () => {
    // If the start failed, some of them are missing.
    const started = suite as Partial<Suite>
    await Promise.all([started.browser?.close(), started.publisher?.stop()])
    await started.system?.stop()
  })
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await tellWhy(suite)
    for (const context of suite.browser.contexts()) await context.close()
  })
  return suite
}

/** After a failure: what pages show, and the last lines of the services. */
async function tellWhy({ browser, publisher, system }: Partial<Suite>): Promise<void> {
  const pages = browser?.contexts().flatMap((context) => context.pages()) ?? []
  const shown = pages.map(async (page) => `${page.url()}\n${await page.locator('body').innerText({ timeout: 5000 })}`)
  const texts = (await Promise.allSettled(shown)).map((one) => (one.status === 'fulfilled' ? one.value : one.reason))
  const { words = [], running = false } = publisher?.service ?? {}
  console.error([...texts, system?.words(), `--- publisher, running: ${running}`, ...words.slice(-25)].join('\n'))
}

/** Waits until exactly `count` tiles are live. */
export const live = (page: Page, count: number, timeoutMs = 30_000): Promise<unknown> =>
  waitFor(
    `${count} live tiles`,
    async () => {
      if ((await page.locator('[data-state="live"]').count()) === count) return true
      // On a time-out, the error shows what each tile says.
      throw new Error(JSON.stringify(await page.locator('[data-state]').allInnerTexts()))
    },
    timeoutMs,
  )

export const tiles = (page: Page): Locator => page.locator('article.tile')
export const names = (page: Page): Promise<string[]> => page.locator('article.tile .name').allInnerTexts()
/** The tile of the stream `name:type`. */
export const tile = (page: Page, stream: string): Locator =>
  page.locator(`article.tile[data-stream="${stream}:inferred"]`)
