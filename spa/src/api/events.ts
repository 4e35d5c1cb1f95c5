/**
 * The gateway's server-sent events, for as long as the page is open.
 *
 * The browser's EventSource gives up for good if the answer is not 200. So any failure closes it here, and a new one is
 * opened after a growing pause with jitter.
 */
import { backoffMs } from '../backoff'
import { BASE } from './base'
import type { HelloEvent, ProblemEvent, StatsEvent, StreamsEvent, TimeEvent } from './types'

export interface EventHandlers {
  /** The server's clock (events `time` and `hello`), and the local time when it arrived. */
  time(serverMs: number, localMs: number): void
  hello(event: HelloEvent): void
  streams(event: StreamsEvent): void
  stats(event: StatsEvent): void
  problem(event: ProblemEvent): void
  opened(): void
  /** The connection is lost. A new one is opened automatically. */
  lost(): void
}

export class EventConnection {
  private source: EventSource | null = null
  private timer: ReturnType<typeof setTimeout> | undefined
  private failures = 0

  constructor(private readonly handlers: EventHandlers) {}

  open(): void {
    this.close()
    const source = new EventSource(`${BASE}api/events`)
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
    const on = <T>(name: string, handle: (data: T) => void): void => {
      source.addEventListener(name, (event) => {
        let data: T
        try {
          data = JSON.parse((event as MessageEvent<string>).data) as T
        } catch {
          return // a malformed event: the next one carries the whole state again
        }
        handle(data)
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
