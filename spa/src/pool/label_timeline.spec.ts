import { expect, test } from 'vitest'

import { LabelTimeline } from './label_timeline'

test('means per image, the last one held for three seconds, then a gap; two minutes', () => {
  const timeline = new LabelTimeline()
  timeline.add(0, [['person', 14]], 7)
  timeline.add(500, [['car', 7]], 7)
  timeline.add(1000, [], 0)
  timeline.add(3500, [], 0)
  expect(timeline.data()).toEqual([
    [0, 0.5, 1, 3.5],
    [2, 0, 0, null],
    [null, 1, 1, null],
  ])
  timeline.add(124_000, [], 1)
  expect(timeline.data()[0]).toEqual([124])
})

test('a model with an endless number of labels does not fill the chart', () => {
  const timeline = new LabelTimeline()
  for (let index = 0; index < 100; index += 1) timeline.add(index, [[`label ${index}`, 1]], 1)
  expect(timeline.labels).toHaveLength(8)
})
