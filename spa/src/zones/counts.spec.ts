import { expect, test } from 'vitest'

import type { CameraCounts } from '@/api/types'

import { countFigures, HOUR_MINUTES } from './counts'

const START = 29_833_333
const minute = (number: number): number => (START + number) * 60_000

const person = {
  type: 'people',
  label: 'person',
  present: 1,
  entered: 1200,
  left: 1199,
  longest_s: 75.4,
  by_minute: { present: [1, 2], entered: [1, 2], left: [0, 2], longest_s: [3, 4] },
}
const counts: CameraCounts = {
  camera: 'gate-1',
  at_ms: minute(5),
  minutes: [minute(2), minute(5)],
  zones: [
    {
      name: 'yard',
      labels: [person, { ...person, label: 'dog', present: 0 }, { ...person, type: 'car' }],
    },
    { name: 'empty', labels: [] },
  ],
  lines: [
    {
      name: 'gate',
      labels: [{ type: 'people', label: 'person', in: 3, out: 1, by_minute: { in: [3, 0], out: [0, 1] } }],
    },
  ],
}

test('labels of one type are summed minute by minute, and unknown minutes are gaps', () => {
  const [yard, empty, gate] = countFigures(counts, 'people', minute(6) + 100)
  const [times, entered, left, present] = yard!.data
  expect(times).toHaveLength(HOUR_MINUTES)
  expect(times.at(-1)).toBe(minute(6) / 1000)
  expect(entered!.slice(-5)).toEqual([2, null, null, 4, null])
  expect(left!.slice(-5).map((value) => (value === 0 ? 0 : value))).toEqual([0, null, null, -4, null])
  expect(present!.slice(-5)).toEqual([2, null, null, 4, null])
  expect(yard!.totals).toEqual([
    { label: 'person', words: '1 inside, 1\u202f200 entered, 1\u202f199 left, longest 75 s' },
    { label: 'dog', words: '0 inside, 1\u202f200 entered, 1\u202f199 left, longest 75 s' },
  ])
  expect(empty!.totals).toEqual([])
  expect(empty!.data[1]!.slice(-5)).toEqual([0, null, null, 0, null])
  expect(gate!.totals).toEqual([{ label: 'person', words: '3 in, 1 out' }])
  expect(gate!.data[2]!.slice(-2)).toEqual([-1, null])
})

test('a clock that is behind the server does not cut off the newest minute', () => {
  const [yard] = countFigures(counts, 'people', minute(1))
  expect(yard!.data[1]!.at(-1)).toBe(4)
})
