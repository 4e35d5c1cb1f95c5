/** What a tile's picture is worth at this moment, in words. Pure. */
import type { Stream } from '@/api/types'
import { clockTime, duration, plural } from '@/format'
import type { TileReport } from '@/painter/protocol'

export type Health = 'live' | 'slow' | 'dead' | 'wait'

export interface TileState {
  health: Health
  /** Empty while all is well. */
  text: string
  /** Further line: since when, why. */
  detail: string
}

// Two seconds without a frame is dead for a stream of some frames a second; a slow one gets three intervals.
const DEAD_MS = 2000

export function tileState(
  stream: Stream,
  report: TileReport | null,
  nowMs: number,
  paused: boolean,
  lastSeenMs: number | null,
): TileState {
  const last = report?.lastFrameMs ?? null
  const detail =
    last !== null ? `last frame ${clockTime(last)}` : lastSeenMs !== null ? `last seen ${clockTime(lastSeenMs)}` : ''
  if (paused) return { health: 'wait', text: 'paused', detail }
  if (report?.link === 'full') return { health: 'dead', text: 'the server has too many viewers', detail }
  const age = last === null ? null : nowMs - last
  const patience = Math.max(DEAD_MS, stream.fps > 0 ? 3000 / stream.fps : 0)
  if (age !== null && age <= patience) return { health: 'live', text: '', detail: '' }
  if (stream.state === 'waiting')
    return { health: 'dead', text: `no pod infers ${stream.type}`, detail: detail || 'frames arrive and are dropped' }
  // Without a word of the producer, a stream that has ended looks the same.
  if (stream.state === 'stalled' && stream.source_fps !== null)
    return { health: 'dead', text: 'the camera sends nothing', detail }
  if (stream.state === 'reconnecting') return { health: 'dead', text: 'the camera is being reconnected', detail }
  if (report?.link === 'lost') return { health: 'dead', text: 'connection lost, trying again', detail }
  if (age !== null) return { health: 'dead', text: `no frame for ${duration(age / 1000)}`, detail }
  if (report?.link === 'unknown') return { health: 'dead', text: 'the server does not know this stream', detail }
  const skipped = report ? report.skipped.malformed + report.skipped.version + report.skipped.picture : 0
  if (skipped) return { health: 'dead', text: 'no displayable frames received', detail: '' }
  return { health: 'wait', text: 'connecting', detail: '' }
}

/** `next`, or `old` where both say the same: a view that watches it is then not drawn again each half second. */
export function keepState(old: TileState | undefined, next: TileState): TileState {
  return old && old.health === next.health && old.text === next.text && old.detail === next.detail ? old : next
}

/** What could not be shown, for a badge: its count and a sentence; null while there is nothing. */
export function skippedText(report: TileReport | null): { count: number; text: string } | null {
  if (!report) return null
  const { malformed, version, picture, boxes } = report.skipped
  const count = malformed + version + picture + boxes
  if (!count) return null
  const parts: string[] = []
  if (picture) parts.push(plural(picture, 'undecodable image'))
  if (version) parts.push(plural(version, 'result of another version', 'results of another version'))
  if (malformed) parts.push(plural(malformed, 'malformed message'))
  if (boxes) parts.push(plural(boxes, 'invalid box', 'invalid boxes'))
  return { count, text: `Skipped: ${parts.join(', ')}` }
}
