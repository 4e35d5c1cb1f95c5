/**
 * Draws boxes over an image, aligned to whole device pixels.
 *
 * Called by the tile painter and for snapshots. A box is a line of 2 px in its label's colour over a
 * dark one of 4 px, so that it shows on any image; below a confidence of 0.5 it is 1 px. A plate such as `person 93`
 * sits on the box's top edge, inside the image. It is left out where the box is far smaller or another plate is there.
 */
import { labelColour, wantsDarkText } from './label_colour'
import type { Found } from './result_message'

export type Context2D = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D

export interface Area {
  x: number
  y: number
  width: number
  height: number
}

export interface BoxOptions {
  boxes: boolean
  labels: boolean
  /** Whether to draw the paths of objects during the last two seconds. */
  trails: boolean
  /** Whether to draw the camera's zones and lines with their counts. */
  zones: boolean
  /** Minimum confidence shown, 0..1. */
  threshold: number
  /** Labels to show; null shows all. */
  only: ReadonlySet<string> | null
}

/** In the compare view: whether the other stream has the same detection. */
export type Mark = 'both' | 'only'

export const DARK = '#0e1116'
// More text than this is unreadable; all boxes are drawn.
const MAX_PLATES = 100
export const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'

/** The area of a frame in a canvas: as large as possible, centred, in whole pixels. */
export function letterbox(frameWidth: number, frameHeight: number, width: number, height: number): Area {
  const scale = Math.min(width / frameWidth, height / frameHeight)
  const w = Math.max(1, Math.round(frameWidth * scale))
  const h = Math.max(1, Math.round(frameHeight * scale))
  return { x: Math.floor((width - w) / 2), y: Math.floor((height - h) / 2), width: w, height: h }
}

/** A box in whole pixels of the canvas. */
export function boxArea(found: Found, area: Area): Area {
  const x = area.x + Math.round(found.x0 * area.width)
  const y = area.y + Math.round(found.y0 * area.height)
  return {
    x,
    y,
    width: Math.max(1, area.x + Math.round(found.x1 * area.width) - x),
    height: Math.max(1, area.y + Math.round(found.y1 * area.height) - y),
  }
}

export const isShown = (found: Found, options: BoxOptions): boolean =>
  found.confidence >= options.threshold && (options.only === null || options.only.has(found.label))

export const plateText = (found: Found): string => `${found.label} ${Math.round(found.confidence * 100)}`

/** Its object's number, such as `#12`; empty if it has none. The whole id, with the stream, is in its events. */
export const trackText = (found: Found): string => {
  const number = found.track === undefined ? null : /-(\d{1,19})$/.exec(found.track)
  return number ? `#${number[1]}` : ''
}

/** Keeps what is drawn inside `area`, until `restore`; returns the width of lines. */
function beginDrawing(context: Context2D, area: Area, ratio: number): number {
  context.save()
  context.beginPath()
  context.rect(area.x, area.y, area.width, area.height)
  context.clip()
  return Math.max(1, Math.round(2 * ratio))
}

/** As `beginDrawing`, for lines with round ends and corners. */
export function beginLines(context: Context2D, area: Area, ratio: number): number {
  const line = beginDrawing(context, area, ratio)
  context.lineJoin = context.lineCap = 'round'
  return line
}

/** Draws the path's line with a dark edge, so that it shows on any image. */
export function strokeEdged(context: Context2D, colour: string, width: number): void {
  context.globalAlpha = 0.6
  context.strokeStyle = DARK
  context.lineWidth = 2 * width
  context.stroke()
  context.globalAlpha = 1
  context.strokeStyle = colour
  context.lineWidth = width
  context.stroke()
}

/** Draws into `area` of the context; `ratio` is device pixels per CSS pixel. Returns how many boxes were drawn. */
export function drawBoxes(
  context: Context2D,
  found: readonly Found[],
  area: Area,
  ratio: number,
  options: BoxOptions,
  marks: readonly Mark[] | null = null,
): number {
  if (!options.boxes) return 0
  const shown: { one: Found; box: Area; mark: Mark | null; dim: boolean }[] = []
  found.forEach((one, index) => {
    if (!isShown(one, options)) return
    const mark = marks?.[index] ?? null
    shown.push({ one, box: boxArea(one, area), mark, dim: mark === 'both' })
  })
  if (!shown.length) return 0
  const line = beginDrawing(context, area, ratio)
  context.strokeStyle = DARK
  context.lineWidth = 2 * line
  context.beginPath()
  for (const { box, dim } of shown) if (!dim) context.rect(box.x, box.y, box.width, box.height)
  context.stroke()
  for (const { one, box, mark, dim } of shown) {
    context.strokeStyle = labelColour(one.label)
    context.lineWidth = dim || one.confidence < 0.5 ? Math.max(1, line / 2) : mark === 'only' ? line * 1.5 : line
    if (dim) {
      context.globalAlpha = 0.55
      context.setLineDash([3 * ratio, 3 * ratio])
    }
    context.strokeRect(box.x, box.y, box.width, box.height)
    if (dim) {
      context.globalAlpha = 1
      context.setLineDash([])
    }
  }
  if (options.labels) drawPlates(context, shown, area, ratio)
  context.restore()
  return shown.length
}

function drawPlates(
  context: Context2D,
  shown: readonly { one: Found; box: Area; dim: boolean }[],
  area: Area,
  ratio: number,
): void {
  const size = Math.round(12 * ratio)
  context.font = `600 ${size}px ${FONT}`
  context.textBaseline = 'middle'
  const pad = Math.round(4 * ratio)
  const height = Math.round(16 * ratio)
  const placed: Area[] = []
  // The most confident come first. A plate that would cover another is left out, or moved below it if they share a box.
  for (let index = shown.length - 1; index >= 0 && placed.length < MAX_PLATES; index -= 1) {
    const { one, box, dim } = shown[index]!
    if (dim || box.height < height || box.width < height) continue
    const track = trackText(one)
    const widthOf = (text: string): number => Math.ceil(textWidth(context, text, size)) + 2 * pad
    // A person is narrow: the plate may be wider than the box, but not more than twice as wide.
    const fits = (text: string): boolean => widthOf(text) <= Math.min(2 * box.width, area.width)
    const text = [track && `${plateText(one)} ${track}`, plateText(one), track].find((some) => some && fits(some))
    if (!text) continue
    const width = widthOf(text)
    const above = box.y - height
    const plate = {
      x: Math.min(Math.max(box.x - Math.round(ratio), area.x), area.x + area.width - width),
      y: above >= area.y ? above : Math.max(box.y, area.y),
      width,
      height,
    }
    while (placed.some((other) => other.x === plate.x && other.y === plate.y)) plate.y += height
    if (plate.y + height > area.y + area.height || placed.some((other) => overlaps(plate, other))) continue
    placed.push(plate)
    const colour = labelColour(one.label)
    context.fillStyle = colour
    context.fillRect(plate.x, plate.y, width, height)
    context.fillStyle = wantsDarkText(colour) ? DARK : '#ffffff'
    context.fillText(text, plate.x + pad, plate.y + height / 2 + ratio * 0.5)
  }
}

export const overlaps = (a: Area, b: Area): boolean =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height

// Measuring text costs more than drawing a box, and the same few texts occur again and again.
const widths = new Map<string, number>()

export function textWidth(context: Context2D, text: string, size: number): number {
  const key = `${size} ${text}`
  let width = widths.get(key)
  if (width === undefined) {
    if (widths.size > 4000) widths.clear()
    width = context.measureText(text).width
    widths.set(key, width)
  }
  return width
}
