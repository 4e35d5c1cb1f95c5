/**
 * Draws a camera's zones and lines over the image, below its boxes, each with what it has counted.
 *
 * How many objects are inside comes with the tracks of the frame, totals come from the server every few seconds.
 */
import type { CameraCounts } from '../api/types'
import { inwardArrow, type Kind, type XY } from '../zones/shapes'
import { type Area, beginLines, type Context2D, DARK, FONT, overlaps, strokeEdged, textWidth } from './boxes'

export interface PaintedShape {
  readonly kind: Kind
  readonly name: string
  readonly points: readonly XY[]
  /** What it has counted since it exists, in words. */
  readonly total: string
}

export const SHAPE_INK: Record<Kind, string> = { zone: '#4cc2ff', line: '#ffd166' }
const NAME_LIMIT = 24

/** The shapes whose points are known, with the totals of one inference type over all labels. */
export function paintedShapes(counts: CameraCounts | null, type: string): PaintedShape[] {
  const points = (list: readonly (readonly number[])[] = []): XY[] => list.map(([x, y]) => [x ?? 0, y ?? 0])
  const sum = <T extends { type: string }>(labels: readonly T[], figure: (one: T) => number): number =>
    labels.reduce((total, one) => total + (one.type === type ? figure(one) : 0), 0)
  const zones = (counts?.zones ?? []).map((zone): PaintedShape => ({
    ...{ kind: 'zone', name: zone.name, points: points(zone.points) },
    total: `${sum(zone.labels, (one) => one.entered)} entered`,
  }))
  const lines = (counts?.lines ?? []).map((line): PaintedShape => ({
    ...{ kind: 'line', name: line.name, points: points(line.points) },
    total: `${sum(line.labels, (one) => one.in)} in, ${sum(line.labels, (one) => one.out)} out`,
  }))
  return [...zones, ...lines].filter((shape) => shape.points.length > 1)
}

/** The plate's text, the longest first; the last one is short enough for a small tile. */
export function shapeTexts({ kind, name, total }: PaintedShape, inside: number): string[] {
  const short = name.length > NAME_LIMIT ? `${name.slice(0, NAME_LIMIT - 1)}…` : name
  return kind === 'zone' ? [`${short}: ${inside} inside, ${total}`, `${short}: ${inside}`] : [`${short}: ${total}`]
}

/** Draws into `area`; `inside` is the number of objects in each zone, `ratio` device pixels per CSS pixel. */
export function drawShapes(
  context: Context2D,
  shapes: readonly PaintedShape[],
  inside: ReadonlyMap<string, number>,
  area: Area,
  ratio: number,
): void {
  const at = ([x, y]: XY): XY => [area.x + x * area.width, area.y + y * area.height]
  const line = beginLines(context, area, ratio)
  for (const { kind, points } of shapes) {
    context.beginPath()
    trace(context, points.map(at))
    if (kind === 'zone') {
      context.closePath()
      context.globalAlpha = 0.14
      context.fillStyle = SHAPE_INK.zone
      context.fill()
    } else {
      const { from, to } = inwardArrow(points, area.width / area.height)
      trace(context, [at(from), at(to)])
      context.moveTo(...at(to))
      context.arc(...at(to), line, 0, 2 * Math.PI)
    }
    strokeEdged(context, SHAPE_INK[kind], line)
  }
  drawPlates(context, shapes, inside, area, ratio)
  context.restore()
}

function trace(context: Context2D, points: readonly XY[]): void {
  points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)))
}

/** Each at the lower edge of its shape, where boxes have no text. */
function drawPlates(
  context: Context2D,
  shapes: readonly PaintedShape[],
  inside: ReadonlyMap<string, number>,
  area: Area,
  ratio: number,
): void {
  const size = Math.round(12 * ratio)
  const height = Math.round(16 * ratio)
  const pad = Math.round(4 * ratio)
  context.font = `600 ${size}px ${FONT}`
  context.textBaseline = 'middle'
  const placed: Area[] = []
  for (const shape of shapes) {
    const texts = shapeTexts(shape, inside.get(shape.name) ?? 0)
    const widthOf = (text: string): number => Math.ceil(textWidth(context, text, size)) + 2 * pad
    const text = texts.find((some) => widthOf(some) <= area.width / 2) ?? texts.at(-1)!
    const width = widthOf(text)
    if (width > area.width) continue
    const xs = shape.points.map(([x]) => x)
    const middle = area.x + ((Math.min(...xs) + Math.max(...xs)) / 2) * area.width
    const low = area.y + Math.max(...shape.points.map(([, y]) => y)) * area.height
    const plate = {
      x: Math.round(Math.min(Math.max(middle - width / 2, area.x), area.x + area.width - width)),
      y: Math.round(Math.max(low - height, area.y)),
      width,
      height,
    }
    while (placed.some((other) => overlaps(plate, other)) && plate.y >= area.y + height) plate.y -= height
    placed.push(plate)
    context.fillStyle = DARK
    context.globalAlpha = 0.82
    context.fillRect(plate.x, plate.y, width, height)
    context.globalAlpha = 1
    context.fillStyle = SHAPE_INK[shape.kind]
    context.fillText(text, plate.x + pad, plate.y + height / 2 + ratio * 0.5)
  }
}
