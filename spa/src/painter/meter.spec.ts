import { expect, test } from 'vitest'

import { MeanMeter, RateMeter } from './meter'

test('the rate is that of the last two seconds', () => {
  const meter = new RateMeter()
  for (let now = 0; now < 4000; now += 100) meter.add(now)
  expect(meter.rate(4000)).toBeCloseTo(10, 0)
  expect(meter.rate(5000)).toBeCloseTo(5, 0)
  expect(meter.rate(7000)).toBe(0)
})

test('the mean covers what was added since it was last taken', () => {
  const meter = new MeanMeter()
  expect(meter.take()).toBeNull()
  meter.add(1)
  meter.add(3)
  expect(meter.take()).toBe(2)
  expect(meter.take()).toBeNull()
})
