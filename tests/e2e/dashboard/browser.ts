/** Starts Chromium and opens pages whose consoles must stay clean. */
import { existsSync } from 'node:fs'

import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

const WHOLE = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
// The same engine without the windows, menus and start pages of a browser, which take half of its time.
const SHELL = '/usr/bin/chromium-headless-shell'

/** Starts the headless shell if there is one; `whole` is for measurements, which are about a browser as people have. */
export function startBrowser({ whole = false } = {}): Promise<Browser> {
  const executable = process.env.EI_TEST_CHROMIUM ?? [...(whole ? [] : [SHELL]), ...WHOLE].find(existsSync)
  if (!executable) throw new Error('Chromium is missing: install it, or set EI_TEST_CHROMIUM to its path')
  return chromium.launch({
    executablePath: executable,
    headless: true,
    args: [
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-extensions',
    ],
  })
}

export interface WatchedPage {
  page: Page
  /** Console errors and warnings, exceptions, requests to other hosts. Must stay empty. */
  complaints: string[]
}

/** A page in a context of its own. `expected` are console lines that a test provokes. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
  expected: RegExp[] = [],
): Promise<WatchedPage> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
  const page = await context.newPage()
  const complaints: string[] = []
  const host = new URL(url).host
  const complain = (text: string): void => {
    if (!expected.some((pattern) => pattern.test(text))) complaints.push(text)
  }
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()))
      complain(`${message.type()}: ${message.text()} ${message.location().url}`)
  })
  page.on('pageerror', (error) => complain(`exception: ${error.message}`))
  page.on('request', (request) => {
    const to = new URL(request.url())
    if (/^(https?|wss?):$/.test(to.protocol) && to.host !== host) complain(`request to another host: ${request.url()}`)
  })
  await page.goto(url)
  return { page, complaints }
}
