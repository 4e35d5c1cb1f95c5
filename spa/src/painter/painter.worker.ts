/** Runs the painter's engine in a worker: websockets, decoding and painting stay off the page's thread. */
import { Engine } from './engine'
import type { Command, Event } from './protocol'

// This file is compiled with the types of a page; these three members differ in a worker.
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
