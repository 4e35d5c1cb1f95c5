import { expect, test } from 'vitest'

import { ACTIVE_MS, OUT_OF_STEP_MS, StepGroup } from './step_group'

const frame = (seq: number | null) => ({ seq })
const seqs = (set: Map<number, { seq: number | null }> | null) =>
  set && [...set].map(([member, one]) => [member, one.seq])
const both = (seq: number | null) => [
  [1, seq],
  [2, seq],
]

test('shows a frame once all have it, the newest one first', () => {
  const group = new StepGroup([1, 2])
  expect(group.add(1, frame(10), 0)).toBeNull()
  expect(group.add(1, frame(11), 66)).toBeNull()
  expect(seqs(group.add(2, frame(10), 70))).toEqual(both(10))
  expect(seqs(group.add(2, frame(11), 140))).toEqual(both(11))
  expect(group.inStep).toBe(true)
})

test('skips what one of them never had', () => {
  const group = new StepGroup([1, 2])
  for (let seq = 1; seq <= 9; seq += 1) group.add(1, frame(seq), seq * 66)
  expect(seqs(group.add(2, frame(7), 600))).toEqual(both(7))
  expect(seqs(group.add(2, frame(9), 700))).toEqual(both(9))
})

test('does not wait for one that has gone', () => {
  const group = new StepGroup([1, 2])
  group.add(1, frame(1), 0)
  group.add(2, frame(1), 0)
  expect(seqs(group.add(1, frame(2), ACTIVE_MS + 1))).toEqual([[1, 2]])
  expect(group.inStep).toBe(false)
})

test('without a common frame each shows its own, and says so', () => {
  const group = new StepGroup([1, 2])
  group.add(1, frame(1), 0)
  group.add(2, frame(501), 10)
  const set = group.add(1, frame(2), OUT_OF_STEP_MS + 50)
  expect(seqs(set)).toEqual([
    [1, 2],
    [2, 501],
  ])
  expect(group.inStep).toBe(false)
})

test('a producer that restarts counts from the start again', () => {
  const group = new StepGroup([1, 2])
  group.add(1, frame(900), 0)
  group.add(2, frame(900), 0)
  group.add(1, frame(901), 60)
  expect(group.add(1, frame(1), 120)).toBeNull()
  expect(seqs(group.add(2, frame(1), 130))).toEqual(both(1))
})

test('frames without a number never match', () => {
  const group = new StepGroup([1, 2])
  expect(group.add(1, frame(null), 0)).toBeNull()
  expect(group.add(2, frame(null), 10)).toBeNull()
  expect(seqs(group.add(1, frame(null), OUT_OF_STEP_MS + 1))).toEqual(both(null))
})
