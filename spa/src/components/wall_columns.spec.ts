import { expect, test } from 'vitest'

import { wallGrid } from './wall_columns'

test.each([
  [0, 1920, 1080, 1, 1],
  [1, 1920, 1080, 1, 1],
  [4, 1920, 1080, 2, 2],
  [16, 3840, 2160, 4, 4],
  [6, 1080, 1920, 1, 6],
  [64, 3840, 2160, 8, 8],
  [2, 1920, 1080, 1, 2],
])('%d tiles on %dx%d', (count, width, height, columns, rows) => {
  const grid = wallGrid(count, width, height)
  expect(grid).toEqual({ columns, rows })
  expect(grid.columns * grid.rows).toBeGreaterThanOrEqual(count)
})
