/** One stream's websocket: connects, and reconnects after a growing, jittered delay. */
import { backoffMs } from '../backoff'
import type { SocketState } from './protocol'

const CLOSE_UNKNOWN = 4404
const CLOSE_FULL = 4429
const FIRST_MS = 400
const MAX_MS = 8000

export class Feed {
  private socket: WebSocket | null = null
  private timer: ReturnType<typeof setTimeout> | undefined
  private failures = 0
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
    const socket = this.socket
    this.socket = null
    this.state = 'idle'
    this.failures = 0
    if (socket) {
      detach(socket)
      socket.close()
    }
  }

  private open(): void {
    this.state = this.failures ? this.state : 'connecting'
    const socket = this.connect(`${this.address}?format=frame`)
    socket.binaryType = 'arraybuffer'
    this.socket = socket
    socket.onmessage = (event: MessageEvent<unknown>) => {
      this.state = 'open'
      this.failures = 0
      if (event.data instanceof ArrayBuffer) this.onMessage(event.data)
    }
    socket.onopen = () => {
      this.state = 'open'
    }
    socket.onclose = (event) => {
      detach(socket)
      if (this.socket !== socket) return
      this.socket = null
      this.state = event.code === CLOSE_UNKNOWN ? 'unknown' : event.code === CLOSE_FULL ? 'full' : 'lost'
      this.timer = setTimeout(() => this.open(), backoffMs(this.failures, FIRST_MS, MAX_MS))
      this.failures += 1
    }
  }
}

function detach(socket: WebSocket): void {
  socket.onopen = null
  socket.onmessage = null
  socket.onclose = null
}
