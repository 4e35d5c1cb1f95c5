import { expect, test } from 'vitest'

import { eventLike } from './event_like'
import { leavesGap, MAX_ROWS, mergeEvents } from './merge'

const ids = (events: readonly { id: string; rev: number }[]): string[] => events.map(({ id, rev }) => `${id}.${rev}`)

test('the newest revision of an event wins, whichever comes first', () => {
  const begin = eventLike({ id: 'a', rev: 1, at_ms: 10 })
  const end = eventLike({ id: 'a', rev: 3, at_ms: 30, phase: 'end' })
  const other = eventLike({ id: 'b', rev: 1, at_ms: 20 })
  expect(ids(mergeEvents([], [end, other, begin]))).toEqual(['a.3', 'b.1'])
  expect(ids(mergeEvents([other, begin], [end]))).toEqual(['a.3', 'b.1'])
  // An older page brings what is older, also of events that are in the list.
  expect(ids(mergeEvents([end], [begin, eventLike({ id: 'c', at_ms: 5 })]))).toEqual(['a.3', 'c.1'])
})

test('without news, the list and its events stay the same objects', () => {
  const rows = mergeEvents([], [eventLike({ id: 'a', at_ms: 1 }), eventLike({ id: 'b', at_ms: 2 })])
  expect(mergeEvents(rows, [eventLike({ id: 'a', at_ms: 1 })])).toBe(rows)
  const more = mergeEvents(rows, [eventLike({ id: 'c', at_ms: 3 })])
  expect(more[1]).toBe(rows[0])
})

test('the list is bounded: the oldest go', () => {
  const many = Array.from({ length: MAX_ROWS + 5 }, (_, at) => eventLike({ id: `e${at}`, at_ms: at }))
  const rows = mergeEvents([], many)
  expect(rows).toHaveLength(MAX_ROWS)
  expect(rows[0]!.id).toBe(`e${MAX_ROWS + 4}`)
})

test('messages of the server without a common revision leave a gap, if they are full', () => {
  const sent = (from: number, count: number) =>
    Array.from({ length: count }, (_, at) => eventLike({ id: `e${from + at}` }))
  expect(leavesGap(sent(0, 50), sent(49, 50))).toBe(false)
  expect(leavesGap(sent(0, 50), sent(50, 50))).toBe(true)
  expect(leavesGap([], sent(0, 49))).toBe(false)
})
