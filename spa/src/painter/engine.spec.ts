import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { Engine } from './engine'
import type { Event, ShownFrame } from './protocol'

// Node has neither canvas nor image decoder: this canvas counts the boxes, and every JPEG decodes.
class FakeSocket {
  static last: FakeSocket
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null
  constructor(readonly address: string) {
    FakeSocket.last = this
  }
  close(): void {}
}

let boxes = 0
const drawing = { strokeRect: () => (boxes += 1), measureText: () => ({ width: 10 }) }
const context = new Proxy(drawing as Record<string, unknown>, {
  get: (target, name: string) => target[name] ?? ((): void => {}),
})
const canvas = { width: 640, height: 360, getContext: () => context } as unknown as OffscreenCanvas

let events: Event[] = []
let animate: (nowMs: number) => void = () => {}
let engine: Engine

beforeEach(() => {
  vi.stubGlobal('WebSocket', FakeSocket)
  vi.stubGlobal('createImageBitmap', async () => Promise.resolve({ width: 640, height: 360, close: () => {} }))
  events = []
  engine = new Engine(
    (event) => events.push(event),
    (call) => (animate = call),
  )
  engine.handle({ do: 'open', tile: 1, address: 'ws://host/a:people:inferred', canvas, live: true })
})
afterEach(() => {
  // Files share a thread: a feed that stays open would reconnect while another file has its own clock.
  engine.handle({ do: 'close', tile: 1 })
  vi.unstubAllGlobals()
})

async function receive(...labels: string[]): Promise<void> {
  const detections = labels.map((label, index) => ({ label, confidence: 0.9 - index / 10, box: [0.1, 0.1, 0.9, 0.9] }))
  const json = new TextEncoder().encode(JSON.stringify({ v: 1, order: 1, width: 640, height: 360, detections }))
  const message = new Uint8Array(4 + json.length + 4)
  new DataView(message.buffer).setUint32(0, json.length)
  message.set(json, 4)
  message.set([0xff, 0xd8, 0xff, 0xd9], 4 + json.length)
  FakeSocket.last.onmessage!({ data: message.buffer })
  // The decoder answers in a microtask.
  await new Promise((resolve) => setTimeout(resolve))
}

/** One animation frame: how many boxes it drew, and what the page shows beside them. */
function paint(): { boxes: number; shown: ShownFrame[]; reports: number } {
  boxes = 0
  events = []
  animate(performance.now())
  return {
    boxes,
    shown: events.flatMap((event) => (event.is === 'shown' ? event.frames : [])),
    reports: events.filter((event) => event.is === 'report').length,
  }
}

test('the counts come with the frame that they belong to, and only when they change', async () => {
  expect(paint().shown).toEqual([])
  await receive('person', 'car', 'person')
  expect(paint()).toMatchObject({
    boxes: 3,
    shown: [
      {
        tile: 1,
        counts: [
          ['person', 2],
          ['car', 1],
        ],
      },
    ],
  })
  expect(paint()).toMatchObject({ boxes: 0, shown: [] })
  await receive('person', 'person', 'car')
  expect(paint()).toMatchObject({ boxes: 3, shown: [] })
  await receive()
  expect(paint()).toMatchObject({ boxes: 0, shown: [{ tile: 1, counts: [] }] })
  await receive()
  expect(paint().shown).toEqual([])
})

test('a frame that is not painted is not reported', async () => {
  await receive('person')
  await receive('car')
  expect(paint().shown).toMatchObject([{ counts: [['car', 1]] }])
})

test('filters change the counts of the frame on the canvas', async () => {
  await receive('person', 'car')
  paint()
  engine.handle({
    do: 'options',
    options: { boxes: true, labels: false, trails: true, zones: true, threshold: 0, only: ['car'] },
  })
  expect(paint()).toMatchObject({ boxes: 1, shown: [{ counts: [['car', 1]] }] })
})

test('a report follows the first frame at once, so that the tile does not say "connecting" over it', async () => {
  paint()
  await receive()
  expect(paint()).toMatchObject({ reports: 1, shown: [{ first: true }] })
  await receive('person')
  expect(paint()).toMatchObject({ reports: 0, shown: [{ first: false }] })
})
