import { describe, expect, test } from 'vitest'

import { useHistory } from './history'
import { arrowStep, penKey, usePen } from './pen'
import {
  added,
  bodyOf,
  changed,
  drawingOf,
  inwardArrow,
  type Kind,
  mistakes,
  pointAdded,
  pointMoved,
  pointRemoved,
  type XY,
} from './shapes'

const SPEC = {
  zones: [
    {
      name: 'hall',
      points: [
        [0.1, 0.1],
        [0.9, 0.1],
        [0.9, 0.9],
      ],
      dwell_s: 30,
      labels: ['person'],
    },
  ],
  lines: [{ name: 'door', from: [0.5, 0.2], to: [0.5, 0.9], point: 'centre' as const }],
}
const TRIANGLE: readonly XY[] = [
  [0, 0],
  [1, 0],
  [1, 1],
]

describe('a drawing', () => {
  test('goes back to the server as it came', () => {
    expect(bodyOf(drawingOf(SPEC))).toEqual(SPEC)
  })

  test('gets names that are free', () => {
    const { drawing, shape } = added(added([], 'zone', TRIANGLE).drawing, 'zone', TRIANGLE)
    expect(drawing.map((one) => one.name)).toEqual(['zone-1', 'zone-2'])
    expect(added(changed(drawing, shape.key, { name: 'x' }), 'zone', TRIANGLE).shape.name).toBe('zone-2')
  })

  test('keeps its points inside the frame, and enough of them', () => {
    const { drawing, shape } = added([], 'zone', TRIANGLE)
    expect(pointMoved(drawing, shape.key, 1, [1.7, -0.123456])[0]!.points[1]).toEqual([1, 0])
    expect(pointRemoved(drawing, shape.key, 0)).toBe(drawing)
    const more = pointAdded(drawing, shape.key, 2)
    expect(more[0]!.points[3]).toEqual([0.5, 0.5])
    expect(pointRemoved(more, shape.key, 3)[0]!.points).toEqual(TRIANGLE)
    const line = added([], 'line', TRIANGLE.slice(0, 2))
    expect(pointAdded(line.drawing, line.shape.key, 0)).toBe(line.drawing)
  })

  test.each([
    [{ name: 'a b' }, 'letters'],
    [{ name: '' }, 'letters'],
    [{ dwell: 'x' }, 'seconds'],
    [{ dwell: '0' }, 'seconds'],
    [{ name: 'zone-1' }, 'another zone'],
  ])('says what is wrong with %o', (change, words) => {
    const two = added(added([], 'zone', TRIANGLE).drawing, 'zone', TRIANGLE)
    expect(mistakes(two.drawing).size).toBe(0)
    expect(mistakes(changed(two.drawing, two.shape.key, change)).get(two.shape.key)).toContain(words)
  })

  test('the arrow of a line points to its right', () => {
    // Up the frame: the right hand is on the right.
    const { from, to } = inwardArrow(
      [
        [0.5, 0.9],
        [0.5, 0.1],
      ],
      2,
    )
    expect(from).toEqual([0.5, 0.5])
    expect(to[0]).toBeGreaterThan(0.5)
    expect(to[1]).toBeCloseTo(0.5)
  })
})

describe('the history', () => {
  test('undoes and redoes, and a drag is one step', () => {
    const history = useHistory('a')
    history.put('b')
    history.put('c', 'drag')
    history.put('d', 'drag')
    history.undo()
    expect(history.now.value).toBe('b')
    history.redo()
    expect(history.now.value).toBe('d')
    history.undo()
    history.put('e', 'drag')
    expect([history.now.value, history.canRedo.value]).toEqual(['e', false])
    history.undo()
    history.undo()
    expect([history.now.value, history.canUndo.value]).toEqual(['a', false])
  })
})

const made: [Kind, readonly XY[]][] = []
const key = (name: string, shiftKey = false) => ({ key: name, shiftKey })

test('the pen draws by keys, and takes points back', () => {
  const pen = usePen((kind, points) => made.push([kind, points]))
  expect(penKey(pen, key(' '))).toBe(false)
  pen.start('zone')
  for (const name of [' ', 'ArrowLeft', ' ', 'Backspace', 'ArrowUp', ' ', 'Enter'])
    expect(penKey(pen, key(name))).toBe(true)
  expect(made).toEqual([])
  penKey(pen, key('ArrowRight', true))
  penKey(pen, key(' '))
  penKey(pen, key('Enter'))
  expect(made).toEqual([
    [
      'zone',
      [
        [0.5, 0.5],
        [0.49, 0.49],
        [0.54, 0.49],
      ],
    ],
  ])
  expect(pen.kind.value).toBeNull()
})

test('a line of the pen is done with its second point; a double click sets one point', () => {
  made.length = 0
  const pen = usePen((kind, points) => made.push([kind, points]))
  pen.start('line')
  pen.put([0.1, 0.1])
  pen.put([0.101, 0.101])
  pen.put([0.5, 2])
  expect(made).toEqual([
    [
      'line',
      [
        [0.1, 0.1],
        [0.5, 1],
      ],
    ],
  ])
})

test('a click on the first corner closes a zone, Escape cancels it', () => {
  made.length = 0
  const pen = usePen((kind, points) => made.push([kind, points]))
  pen.start('zone')
  for (const at of [
    [0.1, 0.1],
    [0.5, 0.1],
    [0.5, 0.5],
    [0.105, 0.105],
  ] as XY[])
    pen.put(at)
  expect(made[0]![1].length).toBe(3)
  pen.start('zone')
  pen.put([0.1, 0.1])
  penKey(pen, key('Escape'))
  expect([pen.kind.value, pen.points.value]).toEqual([null, []])
  expect(arrowStep(key('x'))).toBeNull()
})
