/** An event for tests. */
import type { PoolEvent } from '@/api/types'

export const eventLike = (change: Partial<PoolEvent>): PoolEvent => ({
  v: 1,
  id: 'gate-1:people:inferred/1-1-object-1',
  rev: 1,
  kind: 'object',
  phase: 'begin',
  camera: 'gate-1',
  stream: 'gate-1:people:inferred',
  type: 'people',
  label: 'person',
  track: null,
  zone: null,
  direction: null,
  state: null,
  confidence: 0.8,
  top_confidence: 0.9,
  box: null,
  zones: [],
  began_ms: 0,
  at_ms: 0,
  ended_ms: null,
  duration_s: 0,
  snapshot: null,
  snapshot_reason: null,
  ...change,
})
