/**
 * One tile: receives a stream's messages, decodes the newest image and paints it with its boxes.
 *
 * Runs in the painter's worker, or on the page if there is no OffscreenCanvas. The engine calls `paint` from its
 * animation loop. At most one image is being decoded and one waits; older ones are never decoded.
 */
import { type Area, type BoxOptions, type Context2D, drawBoxes, isShown, letterbox, type Mark } from './boxes'
import { decodeImage, type Drawable } from './decode'
import { Feed } from './feed'
import { MeanMeter, RateMeter } from './meter'
import type { LabelCount, Latency, ShownFrame, TileReport } from './protocol'
import { type Found, type FrameResult, parseMessage } from './result_message'
import { drawShapes, type PaintedShape } from './shapes'
import { drawTrails, Trails } from './trails'

export interface ReceivedFrame {
  readonly seq: number | null
  readonly result: FrameResult
  readonly jpeg: Uint8Array<ArrayBuffer>
  /** When it was received, ms on the monotonic clock. */
  readonly receivedMs: number
  readonly marks: readonly Mark[] | null
}

interface Decoded {
  readonly frame: ReceivedFrame
  readonly image: Drawable
}

export interface TileHost {
  options: BoxOptions
  clockOffsetMs: number | null
  /** A frame has arrived; true if a step group takes it. */
  stepped(tile: Tile, frame: ReceivedFrame): boolean
  painted(latencyMs: number | null): void
  received(): void
  superseded(): void
}

// A model with an endless number of labels must not fill the page.
const MAX_LABELS = 50

// Unix ms with the precision of the monotonic clock, which starts at different times in a worker and on the page.
const unixNow = (): number => performance.timeOrigin + performance.now()

export class Tile {
  private readonly feed: Feed
  private readonly context: Context2D
  private readonly painted = new RateMeter()
  private readonly means = {
    camera: new MeanMeter(),
    queue: new MeanMeter(),
    inference: new MeanMeter(),
    relay: new MeanMeter(),
    total: new MeanMeter(),
  }
  private readonly skipped = { malformed: 0, version: 0, image: 0, boxes: 0 }
  private readonly trails = new Trails()
  private shapes: readonly PaintedShape[] = []
  private waiting: ReceivedFrame | null = null
  private decoding = false
  private ready: Decoded | null = null
  private shown: Decoded | null = null
  private told: ShownFrame | null = null
  private ratio = 1
  private dirty = false
  private closed = false
  private lastFrameMs: number | null = null
  private sums = new Map<string, number>()
  private frames = 0
  private latency: Latency | null = null
  /** Set by the engine for tiles of a step group. */
  inStep = true
  grouped = false

  constructor(
    readonly id: number,
    address: string,
    private readonly canvas: OffscreenCanvas | HTMLCanvasElement,
    private readonly host: TileHost,
  ) {
    // The image covers the tile, and a canvas without alpha needs no blending.
    const context = canvas.getContext('2d', { alpha: false }) as Context2D | null
    if (!context) throw new Error('The browser provides no 2D canvas.')
    this.context = context
    this.feed = new Feed(address, (data) => this.take(data))
  }

  /** Whether it shows an image or is about to. */
  get hasImage(): boolean {
    return this.shown !== null || this.ready !== null || this.decoding
  }

  setLive(live: boolean): void {
    if (live) this.feed.start()
    else {
      this.feed.stop()
      this.waiting = null
      this.painted.reset()
    }
  }

  setSize(width: number, height: number, ratio: number): void {
    if (this.canvas.width === width && this.canvas.height === height && this.ratio === ratio) return
    this.canvas.width = width
    this.canvas.height = height
    this.ratio = ratio
    this.dirty = true
  }

  setShapes(shapes: readonly PaintedShape[]): void {
    this.shapes = shapes
    this.dirty = true
  }

  /** Paints the same frame again, since options have changed. */
  refresh(): void {
    this.dirty = true
  }

  close(): void {
    this.closed = true
    this.feed.stop()
    this.ready?.image.source.close()
    this.shown?.image.source.close()
    this.ready = this.shown = null
    this.waiting = null
  }

  private take(data: ArrayBuffer): void {
    this.host.received()
    const parsed = parseMessage(data)
    if ('skip' in parsed) {
      this.skipped[parsed.skip] += 1
      return
    }
    const { jpeg } = parsed
    const receivedMs = performance.now()
    const result = this.trails.take(parsed.result, receivedMs)
    this.skipped.boxes += result.refused
    this.lastFrameMs = Date.now()
    const frame: ReceivedFrame = { seq: result.seq, result, jpeg, receivedMs, marks: null }
    if (!this.host.stepped(this, frame)) this.offer(frame)
  }

  /** Decodes the frame as soon as the decoder is free, unless a newer one replaces it before. */
  offer(frame: ReceivedFrame): void {
    if (this.waiting) this.host.superseded()
    this.waiting = frame
    if (!this.decoding) void this.decodeWaiting()
  }

  private async decodeWaiting(): Promise<void> {
    this.decoding = true
    while (this.waiting && !this.closed) {
      const frame = this.waiting
      this.waiting = null
      const decoded = await this.decode(frame)
      if (decoded) this.put(decoded)
    }
    this.decoding = false
  }

  /** The image at the size at which it is shown; null (and counted) if it cannot be decoded. */
  async decode(frame: ReceivedFrame): Promise<Decoded | null> {
    const { width, height } = frame.result
    const area = letterbox(width, height, this.canvas.width || 1, this.canvas.height || 1)
    try {
      return { frame, image: await decodeImage(frame.jpeg, width, height, area) }
    } catch {
      this.skipped.image += 1
      return null
    }
  }

  put(decoded: Decoded): void {
    if (this.closed) {
      decoded.image.source.close()
      return
    }
    if (this.ready) {
      this.host.superseded()
      this.ready.image.source.close()
    }
    this.ready = decoded
  }

  /** Called once per animation frame. Returns what belongs beside the painted frame; null if that is unchanged. */
  paint(nowMs: number): ShownFrame | null {
    if (!this.ready && !this.dirty) return null
    if (!this.canvas.width || !this.canvas.height) return null
    const fresh = this.ready
    if (fresh) {
      this.shown?.image.source.close()
      this.shown = fresh
      this.ready = null
    }
    this.dirty = false
    const { context, canvas } = this
    if (!this.shown) {
      context.fillStyle = '#000'
      context.fillRect(0, 0, canvas.width, canvas.height)
      return null
    }
    const { frame, image } = this.shown
    const area = letterbox(frame.result.width, frame.result.height, canvas.width, canvas.height)
    if (area.width < canvas.width || area.height < canvas.height) {
      context.fillStyle = '#000'
      context.fillRect(0, 0, canvas.width, canvas.height)
    }
    if (image.width === area.width && image.height === area.height) context.drawImage(image.source, area.x, area.y)
    else context.drawImage(image.source, area.x, area.y, area.width, area.height)
    const { options } = this.host
    this.drawZones(context, frame, area, this.ratio)
    if (options.trails) {
      drawTrails(context, this.trails.until(frame.result, frame.receivedMs), area, this.ratio, options)
    }
    drawBoxes(context, frame.result.found, area, this.ratio, options, frame.marks)
    const counts = countLabels(frame.result.found, this.host.options)
    if (fresh) this.measure(frame.result, counts, nowMs)
    return this.changed(frame, counts)
  }

  private changed(frame: ReceivedFrame, counts: Map<string, number>): ShownFrame | null {
    const { told } = this
    const next: ShownFrame = {
      tile: this.id,
      first: told === null,
      counts: [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, MAX_LABELS),
      onlyHere: frame.marks ? frame.marks.filter((mark) => mark === 'only').length : null,
    }
    if (told && told.onlyHere === next.onlyHere && sameCounts(told.counts, next.counts)) return null
    this.told = next
    return next
  }

  private measure(result: FrameResult, counts: Map<string, number>, nowMs: number): void {
    this.painted.add(nowMs)
    this.frames += 1
    for (const [label, count] of counts) this.sums.set(label, (this.sums.get(label) ?? 0) + count)
    this.means.camera.add(result.age_ms)
    this.means.queue.add(result.queue_ms)
    this.means.inference.add(result.infer_ms)
    let total: number | null = null
    if (result.arrived_ms !== null && this.host.clockOffsetMs !== null) {
      const inPod = result.queue_ms + result.infer_ms
      // This compares two clocks, so it must not fall below what one clock has measured.
      total = Math.max(inPod, unixNow() + this.host.clockOffsetMs - result.arrived_ms)
      this.means.total.add(total)
      this.means.relay.add(total - inPod)
    }
    this.host.painted(total)
  }

  /** Rates and counts since the last call. */
  report(nowMs: number): TileReport {
    const camera = this.means.camera.take()
    const queue = this.means.queue.take()
    const inference = this.means.inference.take()
    const relay = this.means.relay.take()
    const total = this.means.total.take()
    // A slow stream may paint nothing between two reports; its last values still hold.
    if (camera !== null && queue !== null && inference !== null)
      this.latency = { camera, queue, inference, relay, total }
    const result = this.shown?.frame.result
    const report: TileReport = {
      tile: this.id,
      socket: this.feed.state,
      fps: this.painted.rate(nowMs),
      latency: this.latency,
      sums: [...this.sums].slice(0, MAX_LABELS),
      frames: this.frames,
      lastFrameMs: this.lastFrameMs,
      skipped: { ...this.skipped },
      device: result?.device ?? '',
      pod: result?.pod ?? '',
      inStep: this.inStep,
    }
    this.sums = new Map()
    this.frames = 0
    return report
  }

  /** The frame on the canvas as a JPEG in its own size, with boxes; null before the first. */
  async snapshot(): Promise<Blob | null> {
    const frame = this.shown?.frame
    if (!frame) return null
    const bitmap = await createImageBitmap(new Blob([frame.jpeg], { type: 'image/jpeg' }))
    const ratio = Math.max(1, Math.round(Math.min(bitmap.width, bitmap.height) / 540))
    const area = { x: 0, y: 0, width: bitmap.width, height: bitmap.height }
    if (typeof OffscreenCanvas !== 'undefined') {
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height)
      this.drawSnapshot(canvas.getContext('2d')!, bitmap, frame, area, ratio)
      return canvas.convertToBlob({ type: 'image/jpeg', quality: 0.92 })
    }
    const canvas = document.createElement('canvas')
    canvas.width = bitmap.width
    canvas.height = bitmap.height
    this.drawSnapshot(canvas.getContext('2d')!, bitmap, frame, area, ratio)
    return new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.92))
  }

  private drawSnapshot(context: Context2D, bitmap: ImageBitmap, frame: ReceivedFrame, area: Area, ratio: number): void {
    context.drawImage(bitmap, 0, 0)
    bitmap.close()
    this.drawZones(context, frame, area, ratio)
    drawBoxes(context, frame.result.found, area, ratio, this.host.options)
  }

  private drawZones(context: Context2D, frame: ReceivedFrame, area: Area, ratio: number): void {
    if (!this.host.options.zones || !this.shapes.length) return
    drawShapes(context, this.shapes, this.trails.inside(frame.result, frame.receivedMs), area, ratio)
  }
}

function countLabels(found: readonly Found[], options: BoxOptions): Map<string, number> {
  const counts = new Map<string, number>()
  for (const one of found) {
    if (isShown(one, options)) counts.set(one.label, (counts.get(one.label) ?? 0) + 1)
  }
  return counts
}

const sameCounts = (a: readonly LabelCount[], b: readonly LabelCount[]): boolean =>
  a.length === b.length && a.every(([label, count], index) => label === b[index]![0] && count === b[index]![1])
