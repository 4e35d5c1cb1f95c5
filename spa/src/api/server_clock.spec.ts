import { expect, test } from 'vitest'

import { ServerClock } from './server_clock'

test('the sample with the shortest delay counts', () => {
  const clock = new ServerClock()
  expect(clock.offsetMs).toBeNull()
  // The server is 1000 ms ahead; the samples took 50, 5 and 200 ms.
  clock.learn(11_000, 10_050)
  clock.learn(12_000, 11_005)
  clock.learn(13_000, 12_200)
  clock.learn(Number.NaN, 0)
  expect(clock.offsetMs).toBe(995)
})

test('old samples are forgotten: clocks drift', () => {
  const clock = new ServerClock()
  clock.learn(2000, 1000)
  for (let index = 0; index < 60; index += 1) clock.learn(1500, 1000)
  expect(clock.offsetMs).toBe(500)
})
