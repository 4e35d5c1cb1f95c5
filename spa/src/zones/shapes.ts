/**
 * Zones and lines of a camera while they are drawn. Pure: each change makes a new drawing, so that a former one can
 * come back. Points are shares of the frame.
 */
import type { CameraSpec } from '@/api/types'

export type XY = readonly [number, number]
export type Kind = 'zone' | 'line'

export interface Shape {
  /** Unique while the page is open. */
  key: number
  kind: Kind
  name: string
  points: readonly XY[]
  /** Separated by commas, as they are typed. */
  labels: string
  /** Seconds, as they are typed; of zones only. */
  dwell: string
  point: 'foot' | 'centre'
}

export type Drawing = readonly Shape[]

export const MAX_SHAPES = 32
export const MAX_POINTS = 32
export const minimumPoints = (kind: Kind): number => (kind === 'zone' ? 3 : 2)
export const maximumPoints = (kind: Kind): number => (kind === 'zone' ? MAX_POINTS : 2)

let lastKey = 0
const freshKey = (): number => (lastKey += 1)
const xy = (point: readonly number[]): XY => [point[0] ?? 0, point[1] ?? 0]

/** A point inside the frame, rounded as the server does. */
export function inFrame([x, y]: XY): XY {
  const share = (value: number): number => Math.round(Math.min(Math.max(value, 0), 1) * 10_000) / 10_000
  return [share(x), share(y)]
}

export function drawingOf(spec: Pick<CameraSpec, 'zones' | 'lines'>): Drawing {
  const zones = spec.zones.map((zone): Shape => ({
    ...{ key: freshKey(), kind: 'zone', name: zone.name, points: zone.points.map(xy) },
    ...{ labels: (zone.labels ?? []).join(', '), dwell: zone.dwell_s ? String(zone.dwell_s) : '' },
    point: zone.point ?? 'foot',
  }))
  const lines = spec.lines.map((line): Shape => ({
    ...{ key: freshKey(), kind: 'line', name: line.name, points: [xy(line.from), xy(line.to)] },
    ...{ labels: (line.labels ?? []).join(', '), dwell: '', point: line.point ?? 'foot' },
  }))
  return [...zones, ...lines]
}

export interface Body {
  zones: object[]
  lines: object[]
}

/** The body of the request to the server. */
export function bodyOf(drawing: Drawing): Body {
  const common = (shape: Shape): object => ({
    name: shape.name.trim(),
    ...(labelsOf(shape).length ? { labels: labelsOf(shape) } : {}),
    ...(shape.point === 'centre' ? { point: shape.point } : {}),
  })
  return {
    zones: ofKind(drawing, 'zone').map((zone) => ({
      ...common(zone),
      points: zone.points,
      ...(zone.dwell.trim() ? { dwell_s: Number(zone.dwell.replace(',', '.')) } : {}),
    })),
    lines: ofKind(drawing, 'line').map((line) => ({ ...common(line), from: line.points[0], to: line.points[1] })),
  }
}

export const ofKind = (drawing: Drawing, kind: Kind): Shape[] => drawing.filter((shape) => shape.kind === kind)

const labelsOf = (shape: Shape): string[] => [
  ...new Set(
    shape.labels
      .split(',')
      .map((label) => label.trim())
      .filter(Boolean),
  ),
]

/** A new shape of these points, with a name that is free. */
export function added(drawing: Drawing, kind: Kind, points: readonly XY[]): { drawing: Drawing; shape: Shape } {
  const names = new Set(ofKind(drawing, kind).map((shape) => shape.name))
  let number = 1
  while (names.has(`${kind}-${number}`)) number += 1
  const shape: Shape = {
    ...{ key: freshKey(), kind, name: `${kind}-${number}`, points: points.map(inFrame) },
    ...{ labels: '', dwell: '', point: 'foot' },
  }
  return { drawing: [...drawing, shape], shape }
}

export const changed = (drawing: Drawing, key: number, change: Partial<Shape>): Drawing =>
  drawing.map((shape) => (shape.key === key ? { ...shape, ...change } : shape))

export const removed = (drawing: Drawing, key: number): Drawing => drawing.filter((shape) => shape.key !== key)

export function pointMoved(drawing: Drawing, key: number, index: number, to: XY): Drawing {
  const shape = drawing.find((one) => one.key === key)
  if (!shape) return drawing
  return changed(drawing, key, { points: shape.points.map((point, at) => (at === index ? inFrame(to) : point)) })
}

/** The drawing without one point; unchanged if the shape would have too few. */
export function pointRemoved(drawing: Drawing, key: number, index: number): Drawing {
  const shape = drawing.find((one) => one.key === key)
  if (!shape || shape.points.length <= minimumPoints(shape.kind)) return drawing
  return changed(drawing, key, { points: shape.points.filter((_, at) => at !== index) })
}

/** The drawing with another point half way to the next one. */
export function pointAdded(drawing: Drawing, key: number, index: number): Drawing {
  const shape = drawing.find((one) => one.key === key)
  if (!shape || shape.points.length >= maximumPoints(shape.kind)) return drawing
  const [a, b] = [shape.points[index]!, shape.points[(index + 1) % shape.points.length]!]
  const middle = inFrame([(a[0] + b[0]) / 2, (a[1] + b[1]) / 2])
  return changed(drawing, key, { points: shape.points.toSpliced(index + 1, 0, middle) })
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** The mistakes by shape: a sentence for the first field that the server would refuse. */
export function mistakes(drawing: Drawing): Map<number, string> {
  const found = new Map<number, string>()
  for (const shape of drawing) {
    const name = shape.name.trim()
    const twins = ofKind(drawing, shape.kind).filter((one) => one.name.trim() === name)
    const dwell = shape.dwell.trim()
    if (!NAME.test(name)) found.set(shape.key, 'Expected a name of letters, digits, dots, _ and -, at most 64.')
    else if (twins.length > 1) found.set(shape.key, `There is another ${shape.kind} with this name.`)
    else if (dwell && !(Number(dwell.replace(',', '.')) > 0 && Number(dwell.replace(',', '.')) <= 86_400))
      found.set(shape.key, 'Expected seconds, more than 0 and at most 86400.')
  }
  return found
}

/** Where the arrow of a line points: from its middle to its right, which is *in*. In units of the image's height. */
export function inwardArrow(points: readonly XY[], ratio: number): { from: XY; to: XY } {
  const [a, b] = [points[0]!, points[1]!]
  const [dx, dy] = [(b[0] - a[0]) * ratio, b[1] - a[1]]
  const length = Math.hypot(dx, dy) || 1
  const from: XY = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]
  return { from, to: [from[0] - (dy / length) * (0.08 / ratio), from[1] + (dx / length) * 0.08] }
}
