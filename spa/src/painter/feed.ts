/**
 * One stream's websocket: connects, and reconnects after a growing, jittered delay.
 *
 * A browser never notices that a connection on which it only receives has lost its other side. So a silent one
 * is replaced. If only the camera has stopped, that makes no visible difference.
 */
import { backoffMs } from '../backoff'
import type { SocketState } from './protocol'

const CLOSE_UNKNOWN = 4404
const CLOSE_FULL = 4429
/** The close code that browsers report for a connection that ended without a close frame. */
const CLOSE_SILENT = 1006
const FIRST_MS = 400
const MAX_MS = 8000
const LOOK_EVERY_MS = 1000
const OPEN_WITHIN_MS = 10_000
/** A connection counts as silent after this time; on a slow stream, after this many of its usual gaps. */
const SILENT_MS = 6000
const SILENT_GAPS = 4

export class Feed {
  private socket: WebSocket | null = null
  private timer: ReturnType<typeof setTimeout> | undefined
  private watch: ReturnType<typeof setInterval> | undefined
  private failures = 0
  private openedMs = 0
  private heard = false
  private heardMs = 0
  private usualGapMs = 0
  state: SocketState = 'idle'

  constructor(
    private readonly address: string,
    private readonly onMessage: (data: ArrayBuffer) => void,
    private readonly connect: (address: string) => WebSocket = (address) => new WebSocket(address),
  ) {}

  start(): void {
    if (this.state !== 'idle') return
    this.open()
  }

  stop(): void {
    clearTimeout(this.timer)
    this.leave()
    this.state = 'idle'
    this.failures = 0
    this.heardMs = 0
  }

  private open(): void {
    this.state = this.failures ? this.state : 'connecting'
    const socket = this.connect(`${this.address}?format=frame`)
    socket.binaryType = 'arraybuffer'
    this.socket = socket
    this.openedMs = Date.now()
    this.heard = false
    this.watch = setInterval(() => this.look(), LOOK_EVERY_MS)
    socket.onmessage = (event: MessageEvent<unknown>) => {
      this.state = 'open'
      this.failures = 0
      this.hear()
      if (event.data instanceof ArrayBuffer) this.onMessage(event.data)
    }
    socket.onopen = () => {
      this.state = 'open'
    }
    socket.onclose = (event) => {
      detach(socket)
      if (this.socket === socket) this.retry(event.code)
    }
  }

  private retry(code: number): void {
    this.leave()
    this.state = code === CLOSE_UNKNOWN ? 'unknown' : code === CLOSE_FULL ? 'full' : 'lost'
    this.timer = setTimeout(() => this.open(), backoffMs(this.failures, FIRST_MS, MAX_MS))
    this.failures += 1
  }

  private hear(): void {
    const nowMs = Date.now()
    if (this.heardMs) {
      const gapMs = nowMs - this.heardMs
      this.usualGapMs = this.usualGapMs ? 0.8 * this.usualGapMs + 0.2 * gapMs : gapMs
    }
    this.heard = true
    this.heardMs = nowMs
  }

  private look(): void {
    const nowMs = Date.now()
    if (this.heard) {
      if (nowMs - this.heardMs <= Math.max(SILENT_MS, SILENT_GAPS * this.usualGapMs)) return
      this.leave()
      this.open()
    } else if (this.state !== 'open' && nowMs - this.openedMs > OPEN_WITHIN_MS) {
      this.retry(CLOSE_SILENT)
    }
  }

  private leave(): void {
    clearInterval(this.watch)
    const socket = this.socket
    this.socket = null
    if (!socket) return
    detach(socket)
    socket.close()
  }
}

function detach(socket: WebSocket): void {
  socket.onopen = null
  socket.onmessage = null
  socket.onclose = null
}
