/**
 * Assigns boxes to objects, and keeps the objects' paths during the last two seconds.
 *
 * Tracks come with the frame they belong to or, if they were late, with a later one. A frame without its own takes
 * those of the frame before, by overlap. The tile keeps one of these and draws what is known up to the frame it shows.
 * Pure.
 */
import { type Area, beginLines, type BoxOptions, type Context2D, strokeEdged } from './boxes'
import { overlap } from './difference'
import { labelColour } from './label_colour'
import type { Found, FrameResult } from './result_message'

export const TRAIL_MS = 2000
/** How long a trail is shown after its object was last seen. */
const GONE_MS = 500
const MAX_FRAMES = 64
const MAX_TRAILS = 200
const MAX_POINTS = 150
const MIN_OVERLAP = 0.3

interface Point {
  readonly order: number
  readonly timeMs: number
  readonly found: Found
  readonly zones: readonly string[]
}

interface Frame {
  readonly timeMs: number
  readonly found: readonly Found[]
}

export class Trails {
  private readonly frames = new Map<number, Frame>()
  private readonly trails = new Map<string, Point[]>()
  private last: { timeMs: number; boxes: Found[] } | null = null

  /** Takes a frame; returns it with the tracks of its boxes. */
  take(result: FrameResult, receivedMs: number): FrameResult {
    const timeMs = result.arrived_ms ?? receivedMs
    this.frames.set(result.order, { timeMs, found: result.found })
    if (this.frames.size > MAX_FRAMES) this.frames.delete(this.frames.keys().next().value!)
    let own = false
    for (const { order, objects } of result.tracks) {
      const frame = this.frames.get(order)
      if (!frame) continue
      const boxes: Found[] = []
      for (const one of frame.found) {
        const known = objects.get(one.index)
        if (!known) continue
        boxes.push({ ...one, track: known.track })
        this.add(known.track, { order, timeMs: frame.timeMs, found: one, zones: known.zones })
      }
      if (!this.last || frame.timeMs >= this.last.timeMs) this.last = { timeMs: frame.timeMs, boxes }
      own ||= order === result.order
    }
    if (!this.last || timeMs - this.last.timeMs > TRAIL_MS) return result
    return { ...result, found: own ? byIndex(result.found, this.last.boxes) : byOverlap(result.found, this.last.boxes) }
  }

  /** Where the objects were until this frame, the oldest point first. */
  until(result: FrameResult, receivedMs: number): Point[][] {
    const nowMs = result.arrived_ms ?? receivedMs
    const known: Point[][] = []
    for (const points of this.trails.values()) {
      const shown = points.filter(({ order, timeMs }) => order <= result.order && nowMs - timeMs <= TRAIL_MS)
      if (shown.length > 1 && nowMs - shown.at(-1)!.timeMs <= GONE_MS) known.push(shown)
    }
    return known
  }

  /** How many objects were in each zone at this frame. */
  inside(result: FrameResult, receivedMs: number): Map<string, number> {
    const nowMs = result.arrived_ms ?? receivedMs
    const counts = new Map<string, number>()
    for (const points of this.trails.values()) {
      const last = points.findLast(({ order }) => order <= result.order)
      if (!last || nowMs - last.timeMs > GONE_MS) continue
      for (const zone of last.zones) counts.set(zone, (counts.get(zone) ?? 0) + 1)
    }
    return counts
  }

  private add(track: string, point: Point): void {
    const points = (this.trails.get(track) ?? []).filter(({ timeMs }) => point.timeMs - timeMs <= TRAIL_MS)
    points.push(point)
    points.sort((a, b) => a.order - b.order)
    // The map is in order of use, so the first entry is the one to forget.
    this.trails.delete(track)
    this.trails.set(track, points.slice(-MAX_POINTS))
    if (this.trails.size > MAX_TRAILS) this.trails.delete(this.trails.keys().next().value!)
  }
}

const byIndex = (found: readonly Found[], boxes: readonly Found[]): Found[] => {
  const tracks = new Map(boxes.map((box) => [box.index, box.track]))
  return found.map((one) => (tracks.has(one.index) ? { ...one, track: tracks.get(one.index) } : one))
}

function byOverlap(found: readonly Found[], boxes: readonly Found[]): Found[] {
  const left = [...boxes]
  return found.map((one) => {
    let best = -1
    let most = MIN_OVERLAP
    left.forEach((box, index) => {
      const shared = box.label === one.label ? overlap(one, box) : 0
      if (shared > most) [best, most] = [index, shared]
    })
    const [box] = best < 0 ? [] : left.splice(best, 1)
    return box ? { ...one, track: box.track } : one
  })
}

/** Draws each trail through the middle of the boxes' lower edges, in the label's colour. */
export function drawTrails(
  context: Context2D,
  trails: readonly (readonly Point[])[],
  area: Area,
  ratio: number,
  options: BoxOptions,
): void {
  if (!options.trails || !trails.length) return
  const line = beginLines(context, area, ratio)
  for (const points of trails) {
    const { found } = points.at(-1)!
    if (found.confidence < options.threshold || (options.only && !options.only.has(found.label))) continue
    context.beginPath()
    points.forEach(({ found: { x0, x1, y1 } }, index) => {
      const x = area.x + ((x0 + x1) / 2) * area.width
      const y = area.y + y1 * area.height
      if (index) context.lineTo(x, y)
      else context.moveTo(x, y)
    })
    strokeEdged(context, labelColour(found.label), line)
  }
  context.restore()
}
