import { expect, test } from 'vitest'

import type { BoxOptions } from './boxes'
import { type FrameResult, parseResult } from './result_message'
import { drawTrails, Trails } from './trails'

const ID = 'gate-1:people:inferred/7-'
const STEP_MS = 100

/** A frame with a person at each place; `tracks` are pairs of an order and the numbers of its objects. */
function frame(order: number, places: number[], tracks: [number, number[]][] = [], label = 'person'): FrameResult {
  const result = parseResult({
    v: 1,
    order,
    width: 100,
    height: 100,
    arrived_ms: order * STEP_MS,
    // The parser sorts by confidence, so places in the list change.
    detections: places.map((x, index) => ({ label, confidence: 0.9 - index / 10, box: [x, 0.2, x + 0.1, 0.6] })),
    tracks: tracks.map(([of, numbers]) => ({
      order: of,
      objects: numbers.map((n, index) => ({ index, track: ID + n, zones: [] })),
    })),
  })
  if ('skip' in result) throw new Error(result.skip)
  return result
}

/** Place of each box and the number of its object. */
const known = (result: FrameResult) =>
  result.found.map((one): [number, string | undefined] => [one.x0, one.track?.slice(ID.length)]).sort()

test('each box of a frame gets its own object, whatever their order', () => {
  const trails = new Trails()
  expect(known(trails.take(frame(1, [0.1, 0.5]), 0))).toEqual([
    [0.1, undefined],
    [0.5, undefined],
  ])
  expect(known(trails.take(frame(2, [0.1, 0.5], [[2, [3, 4]]]), 0))).toEqual([
    [0.1, '3'],
    [0.5, '4'],
  ])
})

test('a frame whose tracks are late takes those of the frame before, by overlap, and no label takes another', () => {
  const trails = new Trails()
  trails.take(frame(1, [0.1, 0.5], [[1, [3, 4]]]), 0)
  expect(known(trails.take(frame(2, [0.52, 0.11]), 0))).toEqual([
    [0.11, '3'],
    [0.52, '4'],
  ])
  expect(known(trails.take(frame(3, [0.1], [], 'car'), 0))).toEqual([[0.1, undefined]])
  expect(known(trails.take(frame(40, [0.1]), 0))).toEqual([[0.1, undefined]])
})

test('a trail is of the last two seconds, ends at the frame that is shown, and late points find their place', () => {
  const trails = new Trails()
  const shown: FrameResult[] = []
  for (let order = 1; order <= 30; order += 1) {
    // The tracks of every third frame come with the next.
    const tracks: [number, number[]][] = order % 3 ? [[order, [5]]] : []
    if (order % 3 === 1 && order > 1) tracks.unshift([order - 1, [5]])
    shown.push(trails.take(frame(order, [order / 100], tracks), 0))
  }
  const orders = (at: number) => trails.until(shown[at - 1]!, 0).map((points) => points.map(({ order }) => order))
  expect(orders(25)).toEqual([Array.from({ length: 17 }, (_, index) => 9 + index)])
  expect(orders(1)).toEqual([])
})

test('objects that are gone have no trail, and the memory of a tile is bounded', () => {
  const trails = new Trails()
  trails.take(frame(1, [0.1], [[1, [1]]]), 0)
  trails.take(frame(2, [0.1], [[2, [1]]]), 0)
  expect(trails.until(frame(2, []), 0)).toHaveLength(1)
  expect(trails.until(frame(9, []), 0)).toHaveLength(0)
  for (let order = 10; order < 1000; order += 1) trails.take(frame(order, [0.1], [[order, [order]]]), 0)
  expect((trails as unknown as { trails: Map<string, unknown> }).trails.size).toBeLessThanOrEqual(200)
  expect((trails as unknown as { frames: Map<number, unknown> }).frames.size).toBeLessThanOrEqual(64)
})

test('trails go through the middle of the lower edges, and the options choose them', () => {
  const points: number[][] = []
  const paper = new Proxy({} as Record<string, unknown>, {
    get: (_, name: string) =>
      name === 'moveTo' || name === 'lineTo' ? (...at: number[]) => points.push(at.map(Math.round)) : () => {},
    set: () => true,
  }) as unknown as CanvasRenderingContext2D
  const trails = new Trails()
  trails.take(frame(1, [0.1], [[1, [1]]]), 0)
  const last = trails.take(frame(2, [0.2], [[2, [1]]]), 0)
  const draw = (options: Partial<BoxOptions>): number[][] => {
    points.length = 0
    const all = { boxes: true, labels: true, trails: true, zones: true, threshold: 0, only: null, ...options }
    drawTrails(paper, trails.until(last, 0), { x: 10, y: 0, width: 100, height: 100 }, 1, all)
    return [...points]
  }
  expect(draw({})).toEqual([
    [25, 60],
    [35, 60],
  ])
  expect(draw({ trails: false })).toEqual([])
  expect(draw({ only: new Set(['car']) })).toEqual([])
  expect(draw({ threshold: 0.95 })).toEqual([])
})

test('tracks that cannot be read are left out, and the frame is shown', () => {
  const odd = [null, 7, {}, { order: 'x', objects: [] }, { order: 1, objects: [null, { index: 'x', track: 'a' }, {}] }]
  const result = parseResult({ v: 1, order: 1, width: 9, height: 9, detections: [], tracks: odd })
  expect(result).toMatchObject({ tracks: [{ order: 1 }] })
  expect(parseResult({ v: 1, order: 1, width: 9, height: 9, detections: [], tracks: 'x' })).toMatchObject({
    tracks: [],
  })
})

test('an object counts as inside its zones while it is seen, and half a second longer', () => {
  const trails = new Trails()
  const inside = (order: number): Record<string, number> =>
    Object.fromEntries(trails.inside(trails.take(frame(order, []), 0), 0))
  const tracked = (order: number, zones: string[][]): void => {
    const result = frame(order, [0.1, 0.5])
    const objects = new Map(zones.map((names, index) => [index, { track: `${ID}${index}`, zones: names }]))
    trails.take({ ...result, tracks: [{ order, objects }] }, 0)
  }
  tracked(1, [['yard', 'gate'], ['yard']])
  expect(inside(2)).toEqual({ yard: 2, gate: 1 })
  tracked(3, [['yard'], []])
  expect(inside(4)).toEqual({ yard: 1 })
  expect(inside(3 + 500 / STEP_MS)).toEqual({ yard: 1 })
  expect(inside(3 + 600 / STEP_MS)).toEqual({})
})
