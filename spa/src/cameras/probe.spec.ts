import { expect, test } from 'vitest'

import { ApiError } from '@/api/client'
import type { CameraProbe } from '@/api/types'

import { substreamWords } from './probe'

const probe = (width: number, height: number) =>
  ({ report: { width, height, fps: 15, stated_fps: 15 } }) as unknown as CameraProbe

test('a substream is told by size and rate', () => {
  expect(substreamWords(probe(1920, 1080), probe(640, 360))).toEqual({ fact: '640 × 360, 15 fps', problem: '' })
})

test('other proportions and a failure are told as problems', () => {
  expect(substreamWords(probe(1920, 1080), probe(640, 480)).problem).toContain('proportions')
  const refused = new ApiError(400, 'bad_request', 'The camera has no stream at this path (404).')
  expect(substreamWords(probe(1920, 1080), refused).problem).toBe(
    "The substream can't be opened: The camera has no stream at this path (404).",
  )
})
