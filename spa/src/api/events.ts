/**
 * The gateway's server-sent events, for as long as the page is open.
 *
 * The browser's EventSource gives up for good if the answer is not 200. So any failure closes it here, and a new one is
 * opened after a growing pause with jitter. A silent one is closed too, since a browser does not notice that a
 * connection on which it only receives has lost its other side. The server sends an event at least every 15 s.
 */
import { backoffMs } from '../backoff'
import { BASE } from './base'
import type { CamerasEvent, EventPage, HelloEvent, ProblemEvent, StatsEvent, StreamsEvent, TimeEvent } from './types'

const SILENT_MS = 35_000
const LOOK_EVERY_MS = 5000

export interface EventHandlers {
  /** The server's clock (events `time` and `hello`), and the local time when it arrived. */
  time(serverMs: number, localMs: number): void
  hello(event: HelloEvent): void
  streams(event: StreamsEvent): void
  stats(event: StatsEvent): void
  cameras(event: CamerasEvent): void
  /** The newest events of the log. */
  log(event: EventPage): void
  problem(event: ProblemEvent): void
  opened(): void
  /** The connection is lost. A new one is opened automatically. */
  lost(): void
}

export class EventConnection {
  private source: EventSource | null = null
  private timer: ReturnType<typeof setTimeout> | undefined
  private watch: ReturnType<typeof setInterval> | undefined
  private failures = 0
  private heardMs = 0

  constructor(
    private readonly handlers: EventHandlers,
    private readonly connect: (address: string) => EventSource = (address) => new EventSource(address),
  ) {}

  open(): void {
    this.close()
    const source = this.connect(`${BASE}api/events`)
    this.source = source
    this.heardMs = Date.now()
    source.onopen = () => {
      this.failures = 0
      this.handlers.opened()
    }
    const fail = (): void => {
      source.close()
      if (this.source !== source) return
      clearInterval(this.watch)
      this.source = null
      this.timer = setTimeout(() => this.open(), backoffMs(this.failures++, 500, 8000))
      this.handlers.lost()
    }
    source.onerror = fail
    this.watch = setInterval(() => {
      if (Date.now() - this.heardMs > SILENT_MS) fail()
    }, LOOK_EVERY_MS)
    const on = <T>(name: string, handle: (data: T) => void): void => {
      source.addEventListener(name, (event) => {
        this.heardMs = Date.now()
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
    on<CamerasEvent>('cameras', (data) => this.handlers.cameras(data))
    on<EventPage>('log', (data) => this.handlers.log(data))
    on<ProblemEvent>('problem', (data) => this.handlers.problem(data))
  }

  close(): void {
    clearTimeout(this.timer)
    clearInterval(this.watch)
    this.source?.close()
    this.source = null
  }
}
