import { expect, test } from 'vitest'

import { decodeScale } from './decode'

test.each([
  [768, 432, 306, 172, 1 / 2],
  [768, 432, 384, 216, 1 / 2],
  [768, 432, 385, 217, 1],
  [3840, 2160, 300, 168, 1 / 8],
  [320, 180, 1920, 1080, 1],
])('a frame of %dx%d for %dx%d is decoded at %d', (width, height, areaWidth, areaHeight, scale) => {
  expect(decodeScale(width, height, { width: areaWidth, height: areaHeight })).toBe(scale)
})
