import { expect, test } from 'vitest'

import { compareFound, overlap } from './difference'
import type { Found } from './result_message'

const box = (x0: number, label = 'person'): Found => ({
  label,
  confidence: 0.9,
  x0,
  y0: 0,
  x1: x0 + 0.2,
  y1: 0.5,
  index: 0,
})

test('overlap is intersection over union', () => {
  expect(overlap(box(0), box(0))).toBeCloseTo(1)
  expect(overlap(box(0), box(0.1))).toBeCloseTo(1 / 3)
  expect(overlap(box(0), box(0.5))).toBe(0)
})

test('each box has one partner of its own label at most', () => {
  expect(compareFound([box(0), box(0.01)], [box(0.005)])).toEqual([['only', 'both'], ['both']])
  expect(compareFound([box(0, 'car')], [box(0, 'person')])).toEqual([['only'], ['only']])
  expect(compareFound([], [box(0)])).toEqual([[], ['only']])
})
