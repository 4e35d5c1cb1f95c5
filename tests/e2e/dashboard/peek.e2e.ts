import { afterAll, beforeAll, expect, test } from 'vitest'
import { startBrowser, openPage } from './browser'
import { Publisher, System, waitFor } from './system'
test('peek', async () => {
  const system = await System.start()
  const browser = await startBrowser()
  try {
    const streams = ['gate-1:people','gate-1:people-int8','gate-2:people','hall:car','yard:car','very-long-stream-name-of-a-camera-behind-the-gate:people']
    const publisher = await Publisher.start(system.brokerUrl, streams, process.env.CLIP ? ['--clip', process.env.CLIP] : [])
    const { page, complaints } = await openPage(browser, system.url + (process.env.AT ?? '/'))
    await new Promise((r) => setTimeout(r, 5000))
    await page.screenshot({ path: '/tmp/peek.png' })
    console.log(complaints.join('\n'))
    console.log(system.words())
    console.log(JSON.stringify(await publisher.counts()))
    await publisher.stop()
  } finally { await browser.close(); await system.stop() }
})
