/** Inference types that a camera uses or a pod serves, for the form of a camera. */
import { computed } from 'vue'

import { useLive } from '@/live'

import { useCameras } from './store'

export function useKnownTypes() {
  const { stats, streams } = useLive()
  const { cameras } = useCameras()
  return computed(() => {
    const served = (stats.value?.types ?? []).map(({ type }) => type)
    const streamed = (streams.value ?? []).map(({ type }) => type)
    const used = (cameras.value ?? []).flatMap(({ spec }) => spec.types)
    return [...new Set([...served, ...streamed, ...used])].sort()
  })
}
