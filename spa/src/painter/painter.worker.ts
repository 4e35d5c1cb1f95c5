/** The painter's engine in a worker of its own: websockets, decoding and painting never touch the page's thread. */
import { Engine } from './engine'
import type { Command, Event } from './protocol'

// The DOM's types stand for those of a worker here; only these three calls differ.
const scope = self as unknown as {
  postMessage(event: Event): void
  requestAnimationFrame(call: (nowMs: number) => void): number
  onmessage: ((event: MessageEvent<Command>) => void) | null
}

const engine = new Engine(
  (event) => scope.postMessage(event),
  (call) => scope.requestAnimationFrame(call),
)
scope.onmessage = (event) => engine.handle(event.data)
