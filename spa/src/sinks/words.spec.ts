import { expect, test } from 'vitest'

import type { SinkSpec, SinkView } from '@/api/types'

import { sinkLike } from './sink_like'
import { conditionWords, filterWords, lagWords, placeWords } from './words'

const LOG: SinkSpec = { kind: 'log' }

test.each<[Partial<SinkView['state']>, string, string, string]>([
  [{ condition: 'delivering' }, 'delivering', 'good', ''],
  [{ condition: 'starting' }, 'starting', 'idle', ''],
  [{ condition: 'failing', reason: 'it answered 500' }, 'failing', 'bad', 'It answered 500'],
  [{ condition: 'failing' }, 'failing', 'bad', 'An attempt failed; retrying.'],
  [{ condition: 'paused' }, 'paused', 'bad', 'It refuses our login; retrying every minute.'],
  [{ condition: 'disabled' }, 'switched off', 'idle', 'It keeps its position for as long as events are kept.'],
  [{ condition: 'unassigned' }, 'waiting', 'warn', 'No event worker has taken it yet.'],
  [{ condition: 'asleep' as never }, 'asleep', 'idle', ''],
])('%o is %s', (state, word, mood, why) => {
  expect(conditionWords(sinkLike(LOG, state))).toEqual({ word, mood, why })
})

test.each<[SinkSpec, string]>([
  [{ kind: 'webhook', url: 'https://example.org:8443/hook/s3cret?key=1' }, 'https://example.org:8443'],
  [{ kind: 'mqtt', url: 'mqtt://broker.example:1883', topic: 'site' }, 'mqtt://broker.example:1883, topic site'],
  [{ kind: 'kafka', brokers: ['a:9092', 'b:9092'], topic: 'events' }, 'a:9092, b:9092, topic events'],
  [{ kind: 'redis', url: 'redis://far.example:6379/0', stream: 'events' }, 'redis://far.example:6379, stream events'],
  [LOG, 'the log of the event service'],
])('%o goes to %s', (spec, place) => expect(placeWords(spec)).toBe(place))

test('filters are words; none means all events', () => {
  expect(filterWords(LOG)).toBe('all events')
  const quiet_hours = [{ from: '22:00', to: '06:00', timezone: 'Europe/Berlin' }]
  expect(filterWords({ kind: 'log', kinds: ['zone', 'dwell'], labels: ['person'], quiet_hours })).toBe(
    'kinds: Zones, Long stays; labels: person; not from 22:00 to 06:00 (Europe/Berlin)',
  )
})

test('a lag is known only while somebody delivers', () => {
  expect(lagWords(sinkLike(LOG, { lag_s: 0.4 }))).toBe('none')
  expect(lagWords(sinkLike(LOG, { lag_s: 42 }))).toBe('42 s')
  expect(lagWords(sinkLike(LOG, { condition: 'disabled', lag_s: 42 }))).toBe('–')
})
