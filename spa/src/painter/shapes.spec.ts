import { expect, test } from 'vitest'

import type { CameraCounts } from '@/api/types'

import { drawShapes, paintedShapes, shapeTexts } from './shapes'

const row = { present: 1, longest_s: 3, by_minute: { present: [], entered: [], left: [], longest_s: [] } }
const counts: CameraCounts = {
  camera: 'gate-1',
  at_ms: 0,
  minutes: [],
  zones: [
    {
      name: 'yard',
      labels: [
        { type: 'people', label: 'person', entered: 3, left: 2, ...row },
        { type: 'people', label: 'child', entered: 4, left: 4, ...row },
        { type: 'car', label: 'car', entered: 50, left: 50, ...row },
      ],
      points: [
        [0.1, 0.1],
        [0.9, 0.1],
        [0.9, 0.9],
      ],
    },
    { name: 'of an older worker', labels: [], points: [] },
  ],
  lines: [
    {
      name: 'door',
      labels: [{ type: 'people', label: 'person', in: 2, out: 1, by_minute: { in: [], out: [] } }],
      points: [
        [0.5, 0.2],
        [0.5, 0.9],
      ],
    },
  ],
}

/** What is drawn into 400 x 200 at x 10. */
function drawn(type: string, inside: Record<string, number>, width = 400) {
  const texts: [string, number, number][] = []
  const corners: number[][] = []
  const context = {
    ...{ save() {}, restore() {}, beginPath() {}, closePath() {}, rect() {}, clip() {} },
    ...{ fill() {}, stroke() {}, arc() {}, fillRect() {} },
    moveTo: (...to: number[]) => void corners.push(to),
    lineTo: (...to: number[]) => void corners.push(to),
    fillText: (text: string, x: number, y: number) => void texts.push([text, x, y]),
    measureText: (text: string) => ({ width: text.length * 6 }),
  } as unknown as CanvasRenderingContext2D
  const area = { x: 10, y: 0, width, height: 200 }
  drawShapes(context, paintedShapes(counts, type), new Map(Object.entries(inside)), area, 1)
  return { texts, corners }
}

test('zones and lines are where they are in the frame, each with the figures of this inference type', () => {
  const { texts, corners } = drawn('people', { yard: 2 })
  expect(texts.map(([text]) => text)).toEqual(['yard: 2 inside, 7 entered', 'door: 2 in, 1 out'])
  expect(corners.slice(0, 3)).toEqual([
    [50, 20],
    [370, 20],
    [370, 180],
  ])
  expect(corners[3]).toEqual([210, 40])
  expect(drawn('car', {}).texts.map(([text]) => text)).toEqual(['yard: 0 inside, 50 entered', 'door: 0 in, 0 out'])
})

test('texts stay in the image, do not cover each other, and are short in a small tile', () => {
  const { texts } = drawn('people', { yard: 2 }, 200)
  expect(texts.map(([text]) => text)).toEqual(['yard: 2', 'door: 2 in, 1 out'])
  expect(texts.every(([, x, y]) => x >= 10 && y > 0 && y < 200)).toBe(true)
  expect(Math.abs(texts[0]![2] - texts[1]![2])).toBeGreaterThanOrEqual(16)
  expect(shapeTexts({ kind: 'zone', name: 'n'.repeat(60), points: [], total: '' }, 1).at(-1)).toHaveLength(27)
})

test('without counters nothing is drawn', () => {
  expect(paintedShapes(null, 'people')).toEqual([])
})
