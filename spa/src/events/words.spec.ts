import { expect, test } from 'vitest'

import type { PoolEvent } from '@/api/types'

import { eventLike } from './event_like'
import { eventWords } from './words'

test.each<[Partial<PoolEvent>, string]>([
  [{ kind: 'object', phase: 'begin' }, 'person seen'],
  [{ kind: 'object', phase: 'update', label: null }, 'object seen'],
  [{ kind: 'object', phase: 'end' }, 'person gone'],
  [{ kind: 'zone', phase: 'begin', zone: 'till' }, 'entered zone till'],
  [{ kind: 'zone', phase: 'update', zone: 'till' }, 'is in zone till'],
  [{ kind: 'zone', phase: 'end', zone: 'till' }, 'left zone till'],
  [{ kind: 'line', phase: 'end', zone: 'gate', direction: 'in' }, 'crossed line gate inwards'],
  [{ kind: 'line', phase: 'end', zone: 'gate', direction: 'out' }, 'crossed line gate outwards'],
  [{ kind: 'line', phase: 'end', zone: 'gate' }, 'crossed line gate'],
  [{ kind: 'dwell', phase: 'begin', zone: 'till', duration_s: 30.2 }, 'has stayed 30 s in zone till'],
  [{ kind: 'dwell', phase: 'end', zone: 'till', duration_s: 42 }, 'stayed 42 s in zone till'],
  [{ kind: 'camera', phase: 'begin', state: 'lost', label: null }, 'camera lost'],
  [{ kind: 'camera', phase: 'end', state: 'back', duration_s: 42 }, 'camera is back after 42 s'],
  [{ kind: 'camera', phase: 'end', state: null }, 'camera paused or removed while lost'],
  [{ kind: 'parcel' as never }, 'parcel'],
])('%o is %s', (change, words) => expect(eventWords(eventLike(change))).toBe(words))
