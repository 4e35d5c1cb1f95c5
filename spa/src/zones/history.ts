/** A history of values, for undo and redo. */
import { computed, type ComputedRef, shallowRef } from 'vue'

const MAX_STEPS = 200

export interface History<T> {
  now: ComputedRef<T>
  canUndo: ComputedRef<boolean>
  canRedo: ComputedRef<boolean>
  /** `together`: a change with the same word as the last one belongs to it, such as the parts of a drag. */
  put: (next: T, together?: string) => void
  undo: () => void
  redo: () => void
  /** Starts again with an empty history. */
  reset: (value: T) => void
}

export function useHistory<T>(start: T): History<T> {
  const steps = shallowRef<{ all: readonly T[]; at: number }>({ all: [start], at: 0 })
  let last: string | undefined

  function go(step: number): void {
    const { all, at } = steps.value
    last = undefined
    steps.value = { all, at: Math.min(Math.max(at + step, 0), all.length - 1) }
  }

  return {
    now: computed(() => steps.value.all[steps.value.at] as T),
    canUndo: computed(() => steps.value.at > 0),
    canRedo: computed(() => steps.value.at < steps.value.all.length - 1),
    put(next, together) {
      const { all, at } = steps.value
      if (next === all[at]) return
      const joins = together !== undefined && together === last && at > 0
      const kept = all.slice(0, joins ? at : at + 1).slice(-MAX_STEPS)
      last = together
      steps.value = { all: [...kept, next], at: kept.length }
    },
    undo: () => go(-1),
    redo: () => go(1),
    reset(value) {
      last = undefined
      steps.value = { all: [value], at: 0 }
    },
  }
}
