import { expect, test } from 'vitest'

import { duration, fps, grouped, milliseconds, plural, pods } from './format'

test('numbers as the dashboard shows them', () => {
  expect([fps(14.6), fps(null), fps(1234.4), fps(0.52), fps(0)]).toEqual(['15', '–', '1\u202f234', '0.5', '0'])
  expect([milliseconds(41.7), milliseconds(12_345), milliseconds(undefined)]).toEqual(['42 ms', '12 s', '–'])
  expect([grouped(1_234_567), grouped(999), grouped(Number.NaN)]).toEqual(['1\u202f234\u202f567', '999', '–'])
  expect([pods(2.43), pods(2), pods(12.4)]).toEqual(['2.4', '2', '12'])
  expect([duration(12.4), duration(600), duration(7200), duration(-1)]).toEqual(['12 s', '10 min', '2 h', '0 s'])
  expect([plural(1, 'stream'), plural(2, 'stream')]).toEqual(['1 stream', '2 streams'])
})
