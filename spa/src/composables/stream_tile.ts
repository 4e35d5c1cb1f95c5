/**
 * The behaviour shared by all views of one live stream: a tile of the grid, the stream's page, a compared column.
 *
 * Connects a `StreamCanvas` (by `canvas` and `canvasEvents`) with the figures and texts beside it.
 */
import { computed, ref, shallowRef, watch } from 'vue'

import type { Stream } from '@/api/types'
import { saveSnapshot } from '@/components/save_snapshot'
import { keepState, skippedText, type TileState, tileState } from '@/components/tile_state'
import { useLive } from '@/live'
import { usePainter } from '@/painter/painter'
import type { LabelCount, ShownFrame, TileReport } from '@/painter/protocol'

const NO_STREAM: TileState = { health: 'wait', text: '', detail: '' }

/** `onReport` is called with each report of the painter, twice a second. */
export function useStreamTile(stream: () => Stream | null, onReport: (report: TileReport) => void = () => {}) {
  const { nowMs, localMs, session } = useLive()
  const paused = ref(false)
  const tile = ref<number | null>(null)
  const report = shallowRef<TileReport | null>(null)
  const shown = shallowRef<ShownFrame | null>(null)

  const state = computed((old?: TileState): TileState => {
    const now = stream()
    if (!now) return NO_STREAM
    const lastSeenMs = now.last_seen === null ? null : localMs(now.last_seen)
    const problem = session.value?.websocket_problem ?? null
    return keepState(old, tileState(now, report.value, nowMs.value, paused.value, lastSeenMs, problem))
  })
  const isLive = computed(() => state.value.health === 'live')
  const counts = computed(() => shown.value?.counts ?? null)
  const spoken = computed(() =>
    spokenLabel(stream(), isLive.value && counts.value ? countsInWords(counts.value) : state.value.text),
  )

  watch(
    () => stream()?.id,
    () => {
      report.value = null
      shown.value = null
      paused.value = false
    },
  )

  return {
    paused,
    report,
    state,
    /** What belongs to the frame on the canvas. */
    shown,
    isLive,
    /** Detections by label of the frame on the canvas; null before the first. */
    counts,
    latencyMs: computed(() => totalLatencyMs(report.value)),
    skipped: computed(() => skippedText(report.value)),
    canvas: computed(() => canvasOf(stream(), spoken.value, paused.value)),
    canvasEvents: {
      report(next: TileReport): void {
        report.value = next
        onReport(next)
      },
      shown(frame: ShownFrame): void {
        shown.value = frame
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

const canvasOf = (stream: Stream | null, label: string, paused: boolean) => ({
  id: stream?.id ?? '',
  label,
  paused,
  camera: stream?.name,
  type: stream?.type ?? '',
})

const spokenLabel = (stream: Stream | null, words: string): string =>
  stream ? `${stream.name}, ${stream.type}: ${words}` : ''

const countsInWords = (counts: readonly LabelCount[]): string =>
  counts.map(([label, count]) => `${count} ${label}`).join(', ') || 'nothing found'

/** From arrival at the queue to display; only to the result while the server's clock is unknown. */
export function totalLatencyMs(report: TileReport | null): number | null {
  const latency = report?.latency
  if (!latency) return null
  return latency.total ?? latency.queue + latency.inference
}
