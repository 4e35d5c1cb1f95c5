/** The dashboard must show hostile results, names and documents as text, and count what it cannot show. */
import { expect, test } from 'vitest'

import { live, names, tile, tiles, useSuite } from './suite'
import { waitFor } from './system'

const suite = useSuite({ streams: ['gate-1:people', 'gate-2:people'] })

const id = 'gate-2:people:inferred'
const hostile = [
  '<script>document.title="owned"</script>',
  '<img src=x onerror=alert(1)>',
  '🚲👨‍👩‍👧',
  'x'.repeat(10_000),
  'a\u0000\n\u202eb',
  '',
]

const stream = (name: string, index: number) => ({
  id: `${name}:people:inferred`,
  name,
  type: index % 2 ? 'people' : name.slice(0, 200),
  state: 'live',
  model: name.slice(0, 300),
  precision: null,
  width: null,
  height: null,
  fps: 15,
  source_fps: null,
  latency_ms: null,
  last_seen: null,
  url: '/x',
})
const streams = { streams: hostile.map(stream), missing: { queue: '<b>gone</b>' } }
const stats = {
  time_ms: Date.now(),
  types: [{ type: hostile[0], infer_fps: 1, drop_fps: 1, scale_ratio: 2, queue_length: null, replicas: 1, streams: 1 }],
  totals: { infer_fps: 1, drop_fps: 1, queue_length: null, replicas: 1, streams: 1 },
  workers: [
    {
      pod: hostile[1],
      type: hostile[3],
      device: null,
      model: null,
      precision: null,
      infer_fps: 1,
      drop_fps: 0,
      scale_ratio: 1e9,
      last_seen: null,
    },
  ],
  missing: {},
}
/** One answer of /api/events: a broken event among good ones. */
const events = (): string =>
  [
    `event: hello\ndata: {"version":"1","time_ms":${Date.now()}}`,
    'event: streams\ndata: not JSON',
    `event: streams\ndata: ${JSON.stringify(streams)}`,
    `event: stats\ndata: ${JSON.stringify(stats)}`,
    '',
  ].join('\n\n')

test('odd detections are shown without harm', async () => {
  const { page, complaints } = await suite.open('/?q=gate-2')
  await live(page, 1)
  const shown = (text: RegExp | string) =>
    waitFor(`the tile to say ${text}`, async () => (await tile(page, 'gate-2:people').innerText()).match(text))
  await suite.publisher.tell({ do: 'override', stream: id, detections: [] })
  await shown('0 detections')
  await suite.publisher.tell({
    do: 'override',
    stream: id,
    detections: Array.from({ length: 500 }, (_, index) => ({
      label: `thing ${index % 50}`,
      confidence: 0.3 + (index % 7) / 10,
      box: [
        (index % 25) / 25,
        Math.floor(index / 25) / 20,
        (index % 25) / 25 + 0.05,
        Math.floor(index / 25) / 20 + 0.06,
      ],
    })),
  })
  await shown('500 detections')
  await suite.publisher.tell({
    do: 'override',
    stream: id,
    detections: [
      { label: 'person', confidence: 0.9, box: [-3, -0.5, 0.5, 7] },
      { label: 'person', confidence: 0.9, box: [0.9, 0.9, 0.1, 0.1] },
      { label: 'person', confidence: 0.9, box: [2, 2, 3, 3] },
    ],
  })
  await shown('1 detection')
  await shown(/skipped/)
  await suite.publisher.tell({
    do: 'override',
    stream: id,
    detections: hostile.map((label, index) => ({
      label,
      confidence: 0.9,
      box: [index / 6, 0.1, (index + 0.9) / 6, 0.9],
    })),
  })
  await shown('6 detections')
  await page.getByText('Boxes', { exact: true }).first().click()
  await page.getByRole('checkbox', { name: '<script>' }).waitFor()
  expect(await page.title()).toBe('Streams · Elastic Inference')
  await page.goto(`${suite.system.url}/stream/${id}`)
  await live(page, 1)
  await page.locator('.found', { hasText: '🚲' }).waitFor()
  await suite.publisher.tell({ do: 'override', stream: id, detections: null })
  expect(complaints).toEqual([])
})

test('messages that cannot be shown are skipped and counted', async () => {
  const { page, complaints } = await suite.open('/?q=gate-2')
  await live(page, 1)
  const skipped = async () => Number.parseInt((await page.locator('[data-is="skipped"]').allInnerTexts())[0] ?? '0', 10)
  const document = {
    v: 1,
    stream: id,
    type: 'people',
    model: 'm',
    precision: 'FP32',
    device: 'CPU',
    seq: 1,
    ts: 1,
    width: 768,
    height: 432,
    pod: 'p',
    age_ms: 1,
    queue_ms: 1,
    infer_ms: 1,
    detections: [],
  }
  const messages = [
    { document, image: 'broken' },
    { document, image: 'none' },
    { document: { ...document, v: 2 }, image: 'good' },
    { document: '{"v":1', image: 'good' },
  ]
  let sent = 0
  for (const message of messages) {
    await suite.publisher.tell({ do: 'message', stream: id, ...message })
    sent += 1
  }
  // The relay may refuse what it cannot read; the page counts the messages that reach it.
  const count = await waitFor('skipped messages', async () => (await skipped()) >= 1 && skipped())
  expect(count).toBeLessThanOrEqual(sent)
  expect(await page.locator('[data-is="skipped"]').getAttribute('title')).toMatch(/^Skipped: /)
  await live(page, 1)
  expect(complaints).toEqual([])
})

test('odd names and documents of the server are text, never HTML', async () => {
  const context = await suite.browser.newContext()
  const page = await context.newPage()
  const complaints: string[] = []
  page.on(
    'console',
    // The server does not know these cameras, so it refuses their websockets and counters.
    (message) =>
      message.type() === 'error' && !/WebSocket|status of 404/.test(message.text()) && complaints.push(message.text()),
  )
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('dialog', (dialog) => complaints.push(dialog.message()))
  await page.route('**/api/events', (route) => route.fulfill({ contentType: 'text/event-stream', body: events() }))
  await page.goto(suite.system.url)
  await waitFor('the tiles', async () => (await tiles(page).count()) === hostile.length)
  expect((await names(page)).some((name) => name.includes('<script>'))).toBe(true)
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true)
  await page.getByRole('link', { name: 'Pool' }).click()
  await page.getByRole('heading', { name: 'Pool' }).waitFor()
  expect(await page.locator('table').innerText()).toContain('<img src=x onerror=alert(1)>')
  await page.goto(`${suite.system.url}/stream/${encodeURIComponent(hostile[0]!)}`)
  await page.goto(`${suite.system.url}/compare/${encodeURIComponent('x'.repeat(3000))}`)
  await page.getByRole('heading', { name: 'Compare', exact: true }).waitFor()
  expect(complaints).toEqual([])
})
