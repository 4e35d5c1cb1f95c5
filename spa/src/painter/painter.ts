/**
 * The page's side of the painter: starts the worker, gives it canvases and distributes its reports to the tiles.
 *
 * If the browser has no OffscreenCanvas, the same engine runs on the page.
 */
import { Engine } from './engine'
import type { Command, Event, PainterTotals, PaintOptions, ShownFrame, TileReport } from './protocol'
import type { PaintedShape } from './shapes'

/** Event on `window`, twice a second: the frames received and painted since the last one. */
export const TOTALS_EVENT = 'ei:painter'

export interface TileHandlers {
  /** Twice a second: rates, latency, connection. */
  report(report: TileReport): void
  /** The detections of the frame that has just been painted differ from those of the one before. */
  shown(frame: ShownFrame): void
}

class Painter {
  private readonly handlers = new Map<number, TileHandlers>()
  private readonly snapshots = new Map<number, (jpeg: Blob | null) => void>()
  private readonly send: (command: Command, transfer?: Transferable[]) => void
  private readonly offscreen: boolean
  private nextTile = 1
  private nextRequest = 1

  constructor() {
    this.offscreen =
      typeof Worker !== 'undefined' &&
      typeof OffscreenCanvas !== 'undefined' &&
      'transferControlToOffscreen' in HTMLCanvasElement.prototype
    if (this.offscreen) {
      const worker = new Worker(new URL('./painter.worker.ts', import.meta.url), { type: 'module', name: 'painter' })
      worker.onmessage = (event: MessageEvent<Event>) => this.take(event.data)
      this.send = (command, transfer = []) => worker.postMessage(command, transfer)
    } else {
      const engine = new Engine(
        (event) => this.take(event),
        (call) => requestAnimationFrame(call),
      )
      this.send = (command) => engine.handle(command)
    }
  }

  /** Takes a canvas without a context; returns the tile's number. */
  open(canvas: HTMLCanvasElement, address: string, live: boolean, handlers: TileHandlers): number {
    const tile = this.nextTile++
    this.handlers.set(tile, handlers)
    if (this.offscreen) {
      const handed = canvas.transferControlToOffscreen()
      this.send({ do: 'open', tile, address, canvas: handed, live }, [handed])
    } else this.send({ do: 'open', tile, address, canvas, live })
    return tile
  }

  close(tile: number): void {
    this.handlers.delete(tile)
    this.send({ do: 'close', tile })
  }

  size(tile: number, width: number, height: number, ratio: number): void {
    this.send({ do: 'size', tile, width, height, ratio })
  }

  live(tile: number, live: boolean): void {
    this.send({ do: 'live', tile, live })
  }

  shapes(tile: number, shapes: readonly PaintedShape[]): void {
    this.send({ do: 'shapes', tile, shapes })
  }

  options(options: PaintOptions): void {
    this.send({ do: 'options', options: { ...options, only: options.only && [...options.only] } })
  }

  step(tiles: number[], differences: boolean): void {
    this.send({ do: 'step', tiles, differences })
  }

  clock(offsetMs: number | null): void {
    this.send({ do: 'clock', offsetMs })
  }

  /** The tile's frame as a JPEG with its boxes; null before the first. */
  snapshot(tile: number): Promise<Blob | null> {
    const request = this.nextRequest++
    return new Promise((resolve) => {
      this.snapshots.set(request, resolve)
      this.send({ do: 'snapshot', tile, request })
    })
  }

  private take(event: Event): void {
    if (event.is === 'snapshot') {
      this.snapshots.get(event.request)?.(event.jpeg)
      this.snapshots.delete(event.request)
      return
    }
    if (event.is === 'shown') {
      for (const frame of event.frames) this.handlers.get(frame.tile)?.shown(frame)
      return
    }
    // For benchmarks; nothing on the page listens.
    dispatchEvent(new CustomEvent<PainterTotals>(TOTALS_EVENT, { detail: event.totals }))
    for (const report of event.tiles) this.handlers.get(report.tile)?.report(report)
  }
}

let painter: Painter | null = null

/** The page's one painter, started at the first call. */
export function usePainter(): Painter {
  painter ??= new Painter()
  return painter
}
