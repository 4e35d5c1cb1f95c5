import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { effectScope, nextTick, ref } from 'vue'

import type { EventPage, PoolEvent } from '@/api/types'

import { eventLike } from './event_like'
import { useEventLog } from './log'
import { forgetEvents, takeEvents } from './newest'
import { ALL, type EventSelection } from './selection'

const asked: string[] = []
let pages: (EventPage | string)[] = []
let scope = effectScope()

beforeEach(() => {
  scope = effectScope()
  asked.length = 0
  forgetEvents()
  vi.stubGlobal('fetch', async (address: string) => {
    asked.push(address)
    const page = pages.shift() ?? { events: [], next: null }
    return typeof page === 'string'
      ? Response.json({ error: { code: 'unavailable', message: page } }, { status: 503 })
      : Response.json(page)
  })
})
afterEach(() => {
  scope.stop()
  vi.unstubAllGlobals()
})

const start = (selection: () => EventSelection = () => ALL) => scope.run(() => useEventLog(selection))!
const event = (id: string, rev: number, more: Partial<PoolEvent> = {}) => eventLike({ id, rev, at_ms: rev, ...more })
const idle = (log: ReturnType<typeof start>) => vi.waitFor(() => expect(log.busy.value).toBe(false))
const ids = (log: ReturnType<typeof start>) => log.rows.value?.map(({ id, rev }) => `${id}.${rev}`)

test('what the server sent before is one row for each event, at its newest revision', async () => {
  pages = []
  takeEvents({ events: [event('a', 2), event('a', 1)], next: null })
  const log = start()
  await idle(log)
  expect(ids(log)).toEqual(['a.2'])
  takeEvents({ events: [event('b', 3, { label: 'car' }), event('a', 2)], next: null })
  await nextTick()
  expect(ids(log)).toEqual(['b.3', 'a.2'])
  expect([...log.labels.value]).toEqual(['person', 'car'])
})

test('reading older ones goes on while a page has nothing new', async () => {
  pages = [
    { events: [event('a', 3)], next: '9' },
    { events: [event('a', 2)], next: '8' },
    { events: [event('b', 1)], next: '7' },
  ]
  const log = start()
  await idle(log)
  await log.older()
  expect(ids(log)).toEqual(['a.3', 'b.1'])
  expect(log.hasOlder.value).toBe(true)
  expect(asked.map((address) => new URLSearchParams(address.split('?')[1]).get('cursor'))).toEqual([null, '9', '8'])
})

test('another selection begins anew, and only what fits comes in', async () => {
  pages = [{ events: [event('a', 1)], next: null }]
  const selection = ref<EventSelection>(ALL)
  const log = start(() => selection.value)
  await idle(log)
  selection.value = { ...ALL, label: 'car' }
  await nextTick()
  expect(log.rows.value).toBeNull()
  await idle(log)
  expect([...log.cameras.value]).toEqual(['gate-1'])
  expect(asked.at(-1)).toContain('label=car')
  takeEvents({ events: [event('c', 2, { label: 'car' }), event('a', 2)], next: null })
  await nextTick()
  expect(ids(log)).toEqual(['c.2'])
})

test('a failure is a sentence, and the next try can succeed', async () => {
  pages = ['Redis does not answer.', { events: [event('a', 1)], next: null }]
  const log = start()
  await idle(log)
  expect(log.failure.value).toBe('Redis does not answer.')
  expect(log.rows.value).toBeNull()
  await log.reload()
  expect(log.failure.value).toBe('')
  expect(ids(log)).toEqual(['a.1'])
})

test('a gap is known until the list is loaded again', async () => {
  const sent = (from: number): EventPage => ({
    events: Array.from({ length: 50 }, (_, at) => event(`e${from + at}`, 1)),
    next: null,
  })
  pages = []
  takeEvents(sent(0))
  const log = start()
  await idle(log)
  takeEvents(sent(49))
  await nextTick()
  expect(log.gap.value).toBe(false)
  takeEvents(sent(500))
  await nextTick()
  expect(log.gap.value).toBe(true)
  await log.reload()
  expect(log.gap.value).toBe(false)
})
