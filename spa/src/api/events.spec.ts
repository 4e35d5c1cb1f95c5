import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { EventConnection } from './events'

class FakeSource {
  onopen: (() => void) | null = null
  onerror: (() => void) | null = null
  closed = false
  private readonly listeners = new Map<string, (event: { data: string }) => void>()
  addEventListener(name: string, listener: (event: { data: string }) => void): void {
    this.listeners.set(name, listener)
  }
  send(name: string, data: unknown): void {
    this.listeners.get(name)!({ data: JSON.stringify(data) })
  }
  close(): void {
    this.closed = true
  }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('replaces a connection that falls silent', () => {
  const sources: FakeSource[] = []
  const handlers = {
    time: vi.fn(),
    hello: vi.fn(),
    streams: vi.fn(),
    stats: vi.fn(),
    cameras: vi.fn(),
    log: vi.fn(),
    problem: vi.fn(),
    opened: vi.fn(),
    lost: vi.fn(),
  }
  const events = new EventConnection(handlers, () => {
    const source = new FakeSource()
    sources.push(source)
    return source as unknown as EventSource
  })
  events.open()
  sources[0]!.onopen!()
  for (let index = 0; index < 4; index += 1) {
    vi.advanceTimersByTime(15_000)
    sources[0]!.send('time', { time_ms: 1 })
  }
  expect(handlers.lost).not.toHaveBeenCalled()
  vi.advanceTimersByTime(41_000)
  expect(handlers.lost).toHaveBeenCalledTimes(1)
  expect(sources[0]!.closed).toBe(true)
  expect(sources).toHaveLength(2)
  events.close()
  vi.advanceTimersByTime(120_000)
  expect(sources).toHaveLength(2)
})
