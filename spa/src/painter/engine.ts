/**
 * The painter: all tiles of the page in one animation loop, with two reports per second.
 *
 * Runs in a worker if the browser has OffscreenCanvas, otherwise on the page. It takes commands and uses no view.
 */
import type { BoxOptions } from './boxes'
import { compareFound } from './difference'
import type { Command, Event, PainterTotals, ShownFrame } from './protocol'
import { StepGroup } from './step_group'
import { type ReceivedFrame, Tile, type TileHost } from './tile'

export const REPORT_MS = 500
const MAX_LATENCIES = 500

export class Engine implements TileHost {
  options: BoxOptions = { boxes: true, labels: true, trails: true, zones: true, threshold: 0, only: null }
  clockOffsetMs: number | null = null
  private readonly tiles = new Map<number, Tile>()
  private group: StepGroup<ReceivedFrame> | null = null
  private differences = false
  private stepBusy = false
  private stepWaiting: Map<number, ReceivedFrame> | null = null
  private totals: PainterTotals = newTotals()
  private lastReportMs = 0
  private running = false

  constructor(
    private readonly tell: (event: Event) => void,
    private readonly nextFrame: (call: (nowMs: number) => void) => void,
  ) {}

  handle(command: Command): void {
    switch (command.do) {
      case 'open': {
        const tile = new Tile(command.tile, command.address, command.canvas, this)
        this.tiles.set(command.tile, tile)
        tile.setLive(command.live)
        this.start()
        break
      }
      case 'close':
        this.tiles.get(command.tile)?.close()
        this.tiles.delete(command.tile)
        break
      case 'size':
        this.tiles.get(command.tile)?.setSize(command.width, command.height, command.ratio)
        break
      case 'live':
        this.tiles.get(command.tile)?.setLive(command.live)
        break
      case 'shapes':
        this.tiles.get(command.tile)?.setShapes(command.shapes)
        break
      case 'options':
        this.options = { ...command.options, only: command.options.only && new Set(command.options.only) }
        for (const tile of this.tiles.values()) tile.refresh()
        break
      case 'step':
        this.group = command.tiles.length > 1 ? new StepGroup(command.tiles) : null
        this.differences = command.differences
        for (const tile of this.tiles.values()) {
          tile.grouped = command.tiles.includes(tile.id)
          tile.inStep = true
        }
        break
      case 'clock':
        this.clockOffsetMs = command.offsetMs
        break
      case 'snapshot':
        void this.snapshot(command.tile, command.request)
        break
    }
  }

  private start(): void {
    if (this.running) return
    this.running = true
    const loop = (): void => {
      if (!this.tiles.size) {
        this.running = false
        return
      }
      const now = performance.now()
      const started = this.paint(now)
      if (started || now - this.lastReportMs >= REPORT_MS) this.report(now)
      this.nextFrame(loop)
    }
    this.nextFrame(loop)
  }

  /** Paints what has changed and tells the page at the same time; true if a tile shows its first frame. */
  private paint(nowMs: number): boolean {
    const frames: ShownFrame[] = []
    for (const tile of this.tiles.values()) {
      const changed = tile.paint(nowMs)
      if (changed) frames.push(changed)
    }
    if (frames.length) this.tell({ is: 'shown', frames })
    return frames.some((frame) => frame.first)
  }

  private report(nowMs: number): void {
    this.lastReportMs = nowMs
    this.tell({ is: 'report', tiles: [...this.tiles.values()].map((tile) => tile.report(nowMs)), totals: this.totals })
    this.totals = newTotals()
  }

  private async snapshot(id: number, request: number): Promise<void> {
    let jpeg: Blob | null = null
    try {
      jpeg = (await this.tiles.get(id)?.snapshot()) ?? null
    } catch {
      // The page gets null and says so.
    }
    this.tell({ is: 'snapshot', request, jpeg })
  }

  // Called by the tiles.

  stepped(tile: Tile, frame: ReceivedFrame): boolean {
    if (!this.group || !tile.grouped) return false
    const set = this.group.add(tile.id, frame, frame.receivedMs)
    if (set) {
      if (this.stepWaiting) this.totals.superseded += this.stepWaiting.size
      this.stepWaiting = set
      if (!this.stepBusy) void this.paintSteps()
    }
    // Until the first common frame, any frame is better than none.
    if (!set && !tile.hasImage) {
      tile.inStep = false
      return false
    }
    return true
  }

  /** Decodes a set and gives it to the tiles at the same time, so that one animation frame paints all of it. */
  private async paintSteps(): Promise<void> {
    this.stepBusy = true
    while (this.stepWaiting && this.group) {
      const set = this.stepWaiting
      this.stepWaiting = null
      const { inStep } = this.group
      const frames = inStep && this.differences ? withMarks(set) : set
      const decoded = await Promise.all(
        [...frames].map(async ([id, frame]) => {
          const tile = this.tiles.get(id)
          return tile ? ([tile, await tile.decode(frame)] as const) : null
        }),
      )
      for (const entry of decoded) {
        if (!entry) continue
        const [tile, image] = entry
        tile.inStep = inStep
        if (image) tile.put(image)
      }
    }
    this.stepBusy = false
  }

  painted(latencyMs: number | null): void {
    this.totals.painted += 1
    if (latencyMs !== null && this.totals.latencies.length < MAX_LATENCIES) this.totals.latencies.push(latencyMs)
  }

  received(): void {
    this.totals.received += 1
  }

  superseded(): void {
    this.totals.superseded += 1
  }
}

const newTotals = (): PainterTotals => ({ received: 0, painted: 0, superseded: 0, latencies: [] })

/** Marks each frame's detections by comparison with another frame of the set. */
function withMarks(set: Map<number, ReceivedFrame>): Map<number, ReceivedFrame> {
  const entries = [...set]
  const [first] = entries
  if (!first || entries.length < 2) return set
  const marked = new Map<number, ReceivedFrame>()
  for (const [index, [id, frame]] of entries.entries()) {
    const other = index === 0 ? entries[1]! : first
    marked.set(id, { ...frame, marks: compareFound(frame.result.found, other[1].result.found)[0] })
  }
  return marked
}
