import { expect, test } from 'vitest'

import type { Stream } from './api/types'
import { DEFAULTS, optionsQuery, parseOptions, selectStreams, type ViewOptions } from './view_options'

const stream = (name: string, type = 'people', more: Partial<Stream> = {}): Stream => ({
  id: `${name}:${type}:inferred`,
  name,
  type,
  state: 'live',
  model: 'm',
  precision: 'FP32',
  width: 768,
  height: 432,
  fps: 15,
  source_fps: 15,
  latency_ms: 20,
  last_seen: 1,
  url: `/${name}:${type}:inferred`,
  ...more,
})

test('defaults leave the address empty', () => {
  expect(optionsQuery(DEFAULTS)).toEqual({})
  expect(parseOptions({})).toEqual(DEFAULTS)
})

test('all options can be written to the address and read back', () => {
  const options: ViewOptions = {
    search: 'gate & <b>',
    types: ['people', 'car-int8'],
    sort: 'latency',
    size: 'l',
    boxes: false,
    labels: false,
    trails: false,
    zones: false,
    threshold: 0.65,
    only: ['person', 'stop sign, red', '50%', '50%2C'],
    wall: true,
  }
  const query = Object.fromEntries(Object.entries(optionsQuery(options)).map(([name, value]) => [name, String(value)]))
  expect(parseOptions(query)).toEqual(options)
})

test.each([
  { sort: 'nonsense', size: 'xxl', min: 'abc' },
  { min: '-3' },
  { min: '1e9' },
  { sort: ['a', 'b'], q: null },
])('nonsense in an address is the default: %j', (query) => {
  expect(parseOptions(query as never)).toEqual(DEFAULTS)
})

test('?wall alone is the wall, and an empty list of labels shows none', () => {
  expect(parseOptions({ wall: null }).wall).toBe(true)
  expect(parseOptions({ show: '' }).only).toEqual([])
})

test('search and types filter, names sort by number, the order is stable', () => {
  const streams = [stream('gate-10'), stream('gate-2'), stream('Gate-1', 'car'), stream('hall')]
  const names = (options: Partial<ViewOptions>) =>
    selectStreams(streams, { ...DEFAULTS, ...options }).map((one) => one.name)
  expect(names({})).toEqual(['Gate-1', 'gate-2', 'gate-10', 'hall'])
  expect(names({ search: ' GATE ' })).toEqual(['Gate-1', 'gate-2', 'gate-10'])
  expect(names({ types: ['car'] })).toEqual(['Gate-1'])
})

test('problems first puts dead streams before live ones', () => {
  const streams = [
    stream('a'),
    stream('b', 'people', { state: 'waiting' }),
    stream('c', 'people', { state: 'stalled' }),
  ]
  expect(selectStreams(streams, { ...DEFAULTS, sort: 'state' }).map((one) => one.name)).toEqual(['c', 'b', 'a'])
})
