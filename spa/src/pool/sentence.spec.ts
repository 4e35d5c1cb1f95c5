import { expect, test } from 'vitest'

import type { TypeStats } from '../api/types'
import { verdict } from './sentence'

const people: TypeStats = {
  type: 'people',
  infer_fps: 42,
  drop_fps: 0,
  scale_ratio: 0.5,
  capacity_fps: 84,
  queue_length: 0,
  replicas: 1,
  streams: 3,
}

test.each<[Partial<TypeStats>, string, string]>([
  [{ drop_fps: 58, scale_ratio: 2.4 }, 'bad', 'people: 2.4 pods needed, 1 running, 58 % of frames dropped'],
  [
    { drop_fps: 0.1, scale_ratio: 1.02, replicas: 2 },
    'warn',
    'people: 42 fps on 2 pods, 102 % used, under 1 % of frames dropped',
  ],
  [
    { drop_fps: 2, scale_ratio: 0.6, replicas: 2 },
    'warn',
    'people: 42 fps on 2 pods, 60 % used, 5 % of frames dropped',
  ],
  [{}, 'good', 'people: 42 fps on 1 pod, 50 % used, no drops'],
  [{ scale_ratio: 0.95 }, 'warn', 'people: 42 fps on 1 pod, 95 % used, no drops; nearly full'],
  [{ scale_ratio: 0.2, replicas: 4 }, 'good', 'people: 42 fps on 4 pods, 20 % used, no drops; can scale in'],
  [{ infer_fps: 0, scale_ratio: 0 }, 'idle', 'people: idle, 1 pod waiting for frames'],
  [
    { infer_fps: 0, scale_ratio: 0, replicas: 0 },
    'bad',
    'people: no pods, 3 streams waiting; frames are dropped within seconds',
  ],
  [
    { infer_fps: 0, drop_fps: 45, scale_ratio: 0, replicas: 0 },
    'bad',
    'people: no pods, 3 streams waiting; 45 fps dropped',
  ],
  [{ infer_fps: 0, scale_ratio: 0, replicas: 0, streams: 0 }, 'idle', 'people: no pods and no streams'],
  [
    { infer_fps: 0, scale_ratio: 0, replicas: 0, streams: 0, queue_length: 1 },
    'bad',
    'people: no pods, 1 frame waiting; frames are dropped within seconds',
  ],
])('%j is %s', (change, mood, text) => {
  expect(verdict({ ...people, ...change })).toMatchObject({ mood, text })
})
