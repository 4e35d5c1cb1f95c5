/**
 * What every view of one live stream shares: a tile of the grid, the stream's page, a column of the comparison.
 *
 * Connects a `StreamCanvas` (by `canvas` and `canvasEvents`) with the figures and words beside it.
 */
import { computed, ref, shallowRef, watch } from 'vue'

import type { Stream } from '@/api/types'
import { saveSnapshot } from '@/components/save_snapshot'
import { keepState, skippedText, type TileState, tileState } from '@/components/tile_state'
import { useLive } from '@/live'
import { usePainter } from '@/painter/painter'
import type { TileReport } from '@/painter/protocol'

const NO_STREAM: TileState = { health: 'wait', text: '', detail: '' }

/** `onReport` is called for each report of the painter, two a second. */
export function useStreamTile(stream: () => Stream | null, onReport: (report: TileReport) => void = () => {}) {
  const { nowMs, localMs } = useLive()
  const paused = ref(false)
  const tile = ref<number | null>(null)
  const report = shallowRef<TileReport | null>(null)

  const state = computed((old?: TileState): TileState => {
    const now = stream()
    if (!now) return NO_STREAM
    const lastSeenMs = now.last_seen === null ? null : localMs(now.last_seen)
    return keepState(old, tileState(now, report.value, nowMs.value, paused.value, lastSeenMs))
  })
  const isLive = computed(() => state.value.health === 'live')
  const counts = computed(() => report.value?.counts ?? null)
  const spoken = computed(() => {
    const now = stream()
    if (!now) return ''
    const found = (counts.value ?? []).map(([label, count]) => `${count} ${label}`).join(', ') || 'nothing found'
    return `${now.name}, ${now.type}: ${isLive.value ? found : state.value.text}`
  })

  watch(
    () => stream()?.id,
    () => {
      report.value = null
      paused.value = false
    },
  )

  return {
    paused,
    report,
    state,
    isLive,
    /** Detections by label. */
    counts,
    latencyMs: computed(() => totalLatencyMs(report.value)),
    skipped: computed(() => skippedText(report.value)),
    canvas: computed(() => ({ id: stream()?.id ?? '', label: spoken.value, paused: paused.value })),
    canvasEvents: {
      report(next: TileReport): void {
        report.value = next
        onReport(next)
      },
      opened(number: number): void {
        tile.value = number
      },
    },
    async snapshot(): Promise<void> {
      const now = stream()
      if (tile.value !== null && now) await saveSnapshot(usePainter(), tile.value, now)
    },
  }
}

/** From arrival at the queue to paint; to the result where the server's clock is not known yet. */
export function totalLatencyMs(report: TileReport | null): number | null {
  const latency = report?.latency
  if (!latency) return null
  return latency.total ?? latency.queue + latency.inference
}
