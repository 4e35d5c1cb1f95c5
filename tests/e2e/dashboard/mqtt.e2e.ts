/** From a drawing to a message: a zone is drawn in the browser, and its event arrives at a real MQTT broker. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { live, useSuite } from './suite'
import { python, Service, waitFor } from './system'

const folder = mkdtempSync(join(tmpdir(), 'ei-mqtt-'))
const STREAM = 'yard-1:people:inferred'
const suite = useSuite({
  streams: ['yard-1:people'],
  env: {
    CAMERAS_FILE: join(folder, 'cameras.yaml'),
    CAMERA_NETWORKS: '127.0.0.0/8',
    SINK_NETWORKS: '127.0.0.0/8',
  },
})
const mosquitto = ['/usr/sbin/mosquitto', '/usr/bin/mosquitto', '/usr/local/sbin/mosquitto', '/usr/local/bin/mosquitto']
// A laptop without mosquitto skips this; CI must have it.
const withMosquitto = test.skipIf(!mosquitto.some(existsSync) && !process.env.CI)
let broker: Service | undefined

interface Message {
  topic: string
  payload: string
}
interface ZoneEvent {
  id: string
  rev: number
  phase: string
  camera: string
  zone: string
  label: string
}

const messages = (topic: string): Message[] =>
  broker!.words
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Message)
    .filter((message) => message.topic === topic)
const told = (phase: string): ZoneEvent[] =>
  messages('elastic-inference/events/yard-1/zone')
    .map(({ payload }) => JSON.parse(payload) as ZoneEvent)
    .filter((event) => event.phase === phase)

beforeAll(async () => {
  suite.system.start('housekeeping', 'apps/housekeeping_service.py')
  suite.system.start('event service', 'apps/event_service.py')
  await waitFor('the camera', async () => {
    const answer = await fetch(`${suite.system.url}/api/cameras`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'yard-1', url: 'rtsp://127.0.0.1:9/none', types: ['people'] }),
    })
    return answer.status === 201 || answer.status === 409
  })
})
afterAll(async () => {
  // Its input's end ends the broker too.
  broker?.child.stdin!.end()
  await broker?.ended()
  rmSync(folder, { recursive: true })
})

/** A person walks along the image, a step of less than half its width with each frame; `x` is its centre. */
async function walk(from: number, to: number): Promise<void> {
  const steps = Math.ceil(Math.abs(to - from) / 0.04)
  for (let step = 0; step <= steps; step += 1) {
    const x = from + ((to - from) * step) / steps
    const person = { label: 'person', confidence: 0.97, box: [x - 0.05, 0.3, x + 0.05, 0.6] }
    await suite.publisher.tell({ do: 'override', stream: STREAM, detections: [person] })
    const before = (await suite.publisher.counts())[STREAM]!
    await waitFor('the next frame', async () => (await suite.publisher.counts())[STREAM]! > before)
  }
}

withMosquitto('a zone is drawn, and who enters and leaves it is told by MQTT', { timeout: 240_000 }, async () => {
  const started = (broker = Service.start('mosquitto', python, ['-m', 'tests.support.mqtt_broker']))
  const url = await waitFor('mosquitto', () => /"url": "(mqtt:[^"]+)"/.exec(started.words.join('\n'))?.[1], 30_000)
  // Nobody is in the zone when it is drawn.
  await walk(0.15, 0.17)

  const { page, complaints } = await suite.open('/sinks')
  // Without any sink the page has a second link to the same form.
  await page.getByRole('link', { name: 'Add a sink' }).first().click()
  await page.getByLabel('Name', { exact: true }).fill('building')
  await page.getByLabel('Kind').selectOption('MQTT')
  await page.getByLabel('Address').fill(url)
  await page.getByRole('button', { name: 'Add sink' }).click()
  await page.locator('[data-sink="building"][data-condition="delivering"]').waitFor({ timeout: 60_000 })

  await page.goto(`${suite.system.url}/camera/yard-1/zones`)
  await live(page, 1)
  await page.getByRole('button', { name: 'Zone', exact: true }).click()
  const box = (await page.locator('svg.shapes').boundingBox())!
  for (const [x, y] of [
    [0.5, 0.2],
    [0.9, 0.2],
    [0.9, 0.8],
    [0.5, 0.8],
    [0.5, 0.2],
  ] as const)
    await page.mouse.click(box.x + x * box.width, box.y + y * box.height)
  await page.getByLabel('Name').fill('ramp')
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByText('Saved.').waitFor()

  // The event service knows the zone after some seconds. So the person comes again until it does.
  await waitFor(
    'somebody entered the zone',
    async () => {
      await walk(0.17, 0.7)
      await walk(0.7, 0.17)
      return told('begin').length > 0
    },
    90_000,
  )
  const first = told('begin')[0]!
  expect(first).toMatchObject({ camera: 'yard-1', zone: 'ramp', label: 'person' })
  await waitFor('the same visit has ended', () => told('end').some(({ id }) => id === first.id), 45_000)
  expect(told('end').find(({ id }) => id === first.id)!.rev).toBeGreaterThan(first.rev)
  // What a building system switches by.
  const occupied = (): string[] =>
    messages('elastic-inference/zones/yard-1/ramp/occupied').map(({ payload }) => payload)
  await waitFor('the zone is free again', () => occupied().includes('ON') && occupied().at(-1) === 'OFF', 45_000)
  expect(complaints).toEqual([])
})
