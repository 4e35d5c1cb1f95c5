import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { Feed } from './feed'

class FakeSocket {
  binaryType = ''
  onopen: (() => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: ((event: { code: number }) => void) | null = null
  closed = false
  constructor(readonly address: string) {}
  close(): void {
    this.closed = true
  }
}

let sockets: FakeSocket[] = []
const make = (onMessage: (data: ArrayBuffer) => void = () => {}): Feed =>
  new Feed('ws://host/gate-1:people:inferred', onMessage, (address) => {
    const socket = new FakeSocket(address)
    sockets.push(socket)
    return socket as unknown as WebSocket
  })

beforeEach(() => {
  vi.useFakeTimers()
  sockets = []
})
afterEach(() => void vi.useRealTimers())

test('asks for the frame format and hands messages over', () => {
  const got: number[] = []
  const feed = make((data) => got.push(data.byteLength))
  feed.start()
  feed.start()
  expect(sockets).toHaveLength(1)
  expect(sockets[0]!.address).toBe('ws://host/gate-1:people:inferred?format=frame')
  sockets[0]!.onopen!()
  expect(feed.state).toBe('open')
  sockets[0]!.onmessage!({ data: new ArrayBuffer(5) })
  sockets[0]!.onmessage!({ data: 'text messages are ignored' })
  expect(got).toEqual([5])
})

test('reconnects after growing delays, and not after a stop', () => {
  const feed = make()
  feed.start()
  const pauses: number[] = []
  for (let index = 0; index < 8; index += 1) {
    sockets.at(-1)!.onclose!({ code: 1006 })
    expect(feed.state).toBe('lost')
    const before = Date.now()
    vi.advanceTimersToNextTimer()
    pauses.push(Date.now() - before)
  }
  expect(sockets).toHaveLength(9)
  expect(pauses[0]).toBeGreaterThanOrEqual(200)
  expect(pauses[0]).toBeLessThanOrEqual(400)
  expect(pauses.at(-1)).toBeGreaterThanOrEqual(4000)
  expect(Math.max(...pauses)).toBeLessThanOrEqual(8000)
  feed.stop()
  expect(sockets.at(-1)!.closed).toBe(true)
  vi.advanceTimersByTime(60_000)
  expect(sockets).toHaveLength(9)
})

test.each([
  [4404, 'unknown'],
  [4429, 'full'],
  [1001, 'lost'],
] as const)('close code %d means %s', (code, state) => {
  const feed = make()
  feed.start()
  sockets[0]!.onclose!({ code })
  expect(feed.state).toBe(state)
  feed.stop()
})

test('replaces a silent connection, but only once until something arrives again', () => {
  const feed = make()
  feed.start()
  sockets[0]!.onopen!()
  vi.advanceTimersByTime(60_000)
  expect(sockets, 'a stream that has not started may still start').toHaveLength(1)
  for (let index = 0; index < 5; index += 1) {
    sockets[0]!.onmessage!({ data: new ArrayBuffer(5) })
    vi.advanceTimersByTime(100)
  }
  vi.advanceTimersByTime(5000)
  expect(sockets).toHaveLength(1)
  vi.advanceTimersByTime(2000)
  expect(sockets).toHaveLength(2)
  expect(sockets[0]!.closed).toBe(true)
  sockets[1]!.onopen!()
  vi.advanceTimersByTime(60_000)
  expect(sockets, 'the camera has stopped').toHaveLength(2)
  feed.stop()
})

test('a slow stream is not silent between its frames', () => {
  const feed = make()
  feed.start()
  for (let index = 0; index < 6; index += 1) {
    sockets.at(-1)!.onopen!()
    sockets.at(-1)!.onmessage!({ data: new ArrayBuffer(5) })
    vi.advanceTimersByTime(10_000)
  }
  expect(sockets.length).toBeLessThanOrEqual(2)
  feed.stop()
})

test('gives up a connection that does not open', () => {
  const feed = make()
  feed.start()
  vi.advanceTimersByTime(12_000)
  expect(sockets).toHaveLength(2)
  expect(sockets[0]!.closed).toBe(true)
  feed.stop()
  vi.advanceTimersByTime(60_000)
  expect(sockets).toHaveLength(2)
})
