/**
 * The server-sent events of the gateway, connected for as long as the page lives.
 *
 * The browser's own EventSource gives up for good when the answer is not 200, so this closes it at any failure and
 * opens a new one after a growing, jittered pause.
 */
import { backoffMs } from '../backoff'
import type { HelloEvent, ProblemEvent, StatsEvent, StreamsEvent, TimeEvent } from './types'

export interface EventHandlers {
  /** `time` (hello included), with the local time of arrival. */
  time(serverMs: number, localMs: number): void
  hello(event: HelloEvent): void
  streams(event: StreamsEvent): void
  stats(event: StatsEvent): void
  problem(event: ProblemEvent): void
  opened(): void
  /** The connection is gone; another try comes by itself. */
  lost(): void
}

export class EventConnection {
  private source: EventSource | null = null
  private timer: ReturnType<typeof setTimeout> | undefined
  private failures = 0

  constructor(private readonly handlers: EventHandlers) {}

  open(): void {
    this.close()
    const source = new EventSource('/api/events')
    this.source = source
    source.onopen = () => {
      this.failures = 0
      this.handlers.opened()
    }
    source.onerror = () => {
      source.close()
      if (this.source !== source) return
      this.source = null
      this.timer = setTimeout(() => this.open(), backoffMs(this.failures++, 500, 8000))
      this.handlers.lost()
    }
    const on = <T>(name: string, take: (data: T) => void): void => {
      source.addEventListener(name, (event) => {
        let data: T
        try {
          data = JSON.parse((event as MessageEvent<string>).data) as T
        } catch {
          return // a broken event; the next one carries the whole state again
        }
        take(data)
      })
    }
    on<HelloEvent>('hello', (data) => {
      this.handlers.time(data.time_ms, Date.now())
      this.handlers.hello(data)
    })
    on<TimeEvent>('time', (data) => this.handlers.time(data.time_ms, Date.now()))
    on<StreamsEvent>('streams', (data) => this.handlers.streams(data))
    on<StatsEvent>('stats', (data) => this.handlers.stats(data))
    on<ProblemEvent>('problem', (data) => this.handlers.problem(data))
  }

  close(): void {
    clearTimeout(this.timer)
    this.source?.close()
    this.source = null
  }
}
