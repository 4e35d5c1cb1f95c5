import { expect, test } from 'vitest'

import type { TypeStats } from '../api/types'
import { capacityFps, verdict } from './sentence'

const people: TypeStats = {
  type: 'people',
  infer_fps: 42,
  drop_fps: 0,
  scale_ratio: 0.5,
  queue_length: 0,
  replicas: 1,
  streams: 3,
}

test.each<[Partial<TypeStats>, string, string]>([
  [{ drop_fps: 58, scale_ratio: 2.4 }, 'bad', 'people needs 2.4 pods and has 1: 58 % of frames are dropped.'],
  [
    { drop_fps: 0.1, scale_ratio: 1.02, replicas: 2 },
    'warn',
    'people needs 2 pods and has 2: under 1 % of frames are dropped.',
  ],
  [
    { drop_fps: 2, scale_ratio: 0.6, replicas: 2 },
    'warn',
    'people uses 60 % of its 2 pods, and still 5 % of frames are dropped.',
  ],
  [{}, 'good', 'people uses 50 % of its 1 pod for 42 frames a second: no frame is dropped.'],
  [{ scale_ratio: 0.95 }, 'warn', 'people is nearly full: 1 of 1 pod in use, no frame is dropped.'],
  [{ scale_ratio: 0.2, replicas: 4 }, 'good', 'people needs 0.8 pods and has 4: it can shrink. No frame is dropped.'],
  [{ infer_fps: 0, scale_ratio: 0 }, 'idle', 'people is idle: 1 pod waits for frames.'],
  [
    { infer_fps: 0, scale_ratio: 0, replicas: 0 },
    'bad',
    'people has no pod: 3 streams wait, and what is not inferred within seconds is dropped.',
  ],
  [{ infer_fps: 0, scale_ratio: 0, replicas: 0, streams: 0 }, 'idle', 'people has no pod and no stream.'],
  [
    { infer_fps: 0, scale_ratio: 0, replicas: 0, streams: 0, queue_length: 1 },
    'bad',
    'people has no pod: 1 frame waits, and what is not inferred within seconds is dropped.',
  ],
])('%j is %s', (change, mood, text) => {
  expect(verdict({ ...people, ...change })).toMatchObject({ mood, text })
})

test('capacity is demand over ratio, unknown without a pod', () => {
  expect(capacityFps({ ...people, drop_fps: 42, scale_ratio: 2 })).toBe(42)
  expect(capacityFps({ ...people, replicas: 0 })).toBeNull()
  expect(capacityFps({ ...people, scale_ratio: 0 })).toBeNull()
})
