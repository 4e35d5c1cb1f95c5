/** A sink for tests. */
import type { SinkSpec, SinkView } from '@/api/types'

export const sinkLike = (spec: SinkSpec, state: Partial<SinkView['state']> = {}): SinkView => ({
  spec: { name: 'hook', ...spec },
  origin: 'rest',
  state: {
    condition: 'delivering',
    reason: null,
    worker: 'worker-1',
    lag_s: 0,
    delivered: 0,
    retried: 0,
    dead: 0,
    ...state,
  },
  dead_letters: 0,
  revision: '0123456789abcdef',
})
