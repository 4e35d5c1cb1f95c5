import { expect, test } from 'vitest'

import { eventLike } from './event_like'
import { lanesOf, MAX_LANES, moved, ticksOf } from './timeline'

const same = (ms: number): number => ms
const shown = (lanes: ReturnType<typeof lanesOf>) =>
  lanes.map(({ word, bars }) => [
    word,
    ...bars.map(({ left, right, open }) => `${left}-${right}${open ? ' open' : ''}`),
  ])

test('objects have a lane by label, visits one by zone, crossings one by line', () => {
  const events = [
    eventLike({ id: 'a', phase: 'end', began_ms: 100, at_ms: 200, ended_ms: 200 }),
    eventLike({ id: 'b', phase: 'begin', began_ms: 400, at_ms: 400 }),
    eventLike({ id: 'c', kind: 'zone', zone: 'till', phase: 'end', began_ms: 50, at_ms: 150, ended_ms: 150 }),
    eventLike({ id: 'd', kind: 'dwell', zone: 'till', began_ms: 300, at_ms: 320 }),
    eventLike({ id: 'e', kind: 'line', zone: 'door', phase: 'end', began_ms: 10, at_ms: 300, ended_ms: 300 }),
    eventLike({ id: 'f', kind: 'camera', state: 'lost', label: null, began_ms: 450, at_ms: 450 }),
  ]
  expect(shown(lanesOf(events, 100, 500, same))).toEqual([
    ['camera', '0.875-1 open'],
    ['line door', '0.5-0.5'],
    ['person', '0-0.25', '0.75-1 open'],
    ['zone till', '0-0.125', '0.5-1 open'],
  ])
  // What ended before is beside the axis, also by another clock.
  expect(shown(lanesOf(events.slice(0, 1), 250, 500, same))).toEqual([])
  expect(shown(lanesOf(events.slice(0, 1), 250, 500, (ms) => ms + 100))).toEqual([['person', '0-0.2']])
})

test('lanes are bounded: the last one has the rest', () => {
  const many = Array.from({ length: 20 }, (_, at) =>
    eventLike({ id: `${at}`, label: `l${10 + at}`, began_ms: 100 - at }),
  )
  const lanes = lanesOf(many, 0, 200, same)
  expect(lanes).toHaveLength(MAX_LANES)
  expect(lanes.at(-1)!.word).toBe('others')
  expect(lanes.at(-1)!.bars).toHaveLength(20 - MAX_LANES + 1)
  expect(lanes.at(-1)!.bars[0]!.event.id).toBe('19')
})

test('marks are full hours or tens of minutes', () => {
  const hour = 3_600_000
  const from = new Date(2026, 10, 29, 8, 47).getTime()
  const words = (hours: number) =>
    ticksOf(from, from + hours * hour).map(({ ms }) => new Date(ms).toTimeString().slice(0, 5))
  expect(words(1)).toEqual(['08:50', '09:00', '09:10', '09:20', '09:30', '09:40'])
  expect(words(6)).toEqual(['09:00', '10:00', '11:00', '12:00', '13:00', '14:00'])
  expect(words(24)).toHaveLength(6)
})

test('arrows lead along a lane, and to what is nearest in the next one', () => {
  const lanes = lanesOf(
    [
      eventLike({ id: 'a', label: 'car', began_ms: 10 }),
      eventLike({ id: 'b', label: 'car', began_ms: 80 }),
      eventLike({ id: 'c', label: 'person', began_ms: 75 }),
    ],
    0,
    100,
    same,
  )
  expect(moved(lanes, [0, 0], 'ArrowRight')).toEqual([0, 1])
  expect(moved(lanes, [0, 1], 'ArrowRight')).toEqual([0, 1])
  expect(moved(lanes, [0, 1], 'Home')).toEqual([0, 0])
  expect(moved(lanes, [0, 0], 'ArrowDown')).toEqual([1, 0])
  expect(moved(lanes, [1, 0], 'ArrowUp')).toEqual([0, 1])
  expect(moved(lanes, [1, 0], 'ArrowDown')).toEqual([1, 0])
  expect(moved(lanes, [0, 0], 'a')).toBeNull()
})
