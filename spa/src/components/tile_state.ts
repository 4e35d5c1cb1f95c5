/** Whether a tile shows live video, and if not, why. Pure. */
import type { Stream } from '@/api/types'
import { clockTime, duration, plural } from '@/format'
import type { TileReport } from '@/painter/protocol'

export type Health = 'live' | 'slow' | 'dead' | 'wait'

export interface TileState {
  health: Health
  /** Empty while the stream is healthy. */
  text: string
  /** A second line, such as the time of the last frame. */
  detail: string
}

// Without a frame for this long, or for three intervals of a slow stream, a stream is dead.
const DEAD_MS = 2000

export function tileState(
  stream: Stream,
  report: TileReport | null,
  nowMs: number,
  paused: boolean,
  lastSeenMs: number | null,
  /** Why the server refuses this page's websockets. */
  refusal: string | null = null,
): TileState {
  const last = report?.lastFrameMs ?? null
  const detail =
    last !== null ? `last frame ${clockTime(last)}` : lastSeenMs !== null ? `last seen ${clockTime(lastSeenMs)}` : ''
  if (paused) return { health: 'wait', text: 'paused', detail }
  if (report?.socket === 'full') return { health: 'dead', text: 'too many viewers', detail }
  const age = last === null ? null : nowMs - last
  const limit = Math.max(DEAD_MS, stream.fps > 0 ? 3000 / stream.fps : 0)
  if (age !== null && age <= limit) return { health: 'live', text: '', detail: '' }
  if (refusal && report?.socket === 'lost')
    return { health: 'dead', text: 'the server refuses this page', detail: refusal }
  if (stream.state === 'waiting')
    return { health: 'dead', text: `no pods for ${stream.type}`, detail: detail || 'frames are dropped' }
  // Without a rate from the producer, the stream may simply have ended.
  if (stream.state === 'stalled' && stream.source_fps !== null)
    return { health: 'dead', text: 'no frames from the camera', detail }
  if (stream.state === 'waiting_for_key_frame') return { health: 'wait', text: 'waiting for a key frame', detail }
  if (stream.state === 'reconnecting') return { health: 'dead', text: 'reconnecting to the camera', detail }
  if (report?.socket === 'lost') return { health: 'dead', text: 'connection lost, reconnecting', detail }
  if (age !== null) return { health: 'dead', text: `no frame for ${duration(age / 1000)}`, detail }
  if (report?.socket === 'unknown') return { health: 'dead', text: 'stream unknown to the server', detail }
  const skipped = report ? report.skipped.malformed + report.skipped.version + report.skipped.image : 0
  if (skipped) return { health: 'dead', text: 'no displayable frames received', detail: '' }
  return { health: 'wait', text: 'connecting', detail: '' }
}

/** `next`, or `old` if both are equal, so that views are not rendered again every half second. */
export function keepState(old: TileState | undefined, next: TileState): TileState {
  return old && old.health === next.health && old.text === next.text && old.detail === next.detail ? old : next
}

/** Messages and boxes that could not be shown, for a badge: their count and the reasons; null if there are none. */
export function skippedText(report: TileReport | null): { count: number; text: string } | null {
  if (!report) return null
  const { malformed, version, image, boxes } = report.skipped
  const count = malformed + version + image + boxes
  if (!count) return null
  const parts: string[] = []
  if (image) parts.push(plural(image, 'undecodable image'))
  if (version) parts.push(plural(version, 'result of another version', 'results of another version'))
  if (malformed) parts.push(plural(malformed, 'malformed message'))
  if (boxes) parts.push(plural(boxes, 'invalid box', 'invalid boxes'))
  return { count, text: `Skipped: ${parts.join(', ')}` }
}
