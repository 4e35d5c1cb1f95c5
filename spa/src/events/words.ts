/** Describes events in words. Pure. */
import type { EventKind, PoolEvent } from '@/api/types'
import { duration } from '@/format'

export const KIND_WORDS: Record<EventKind, string> = {
  object: 'Objects',
  zone: 'Zones',
  line: 'Lines',
  dwell: 'Long stays',
  camera: 'Cameras',
}

export function eventWords(event: PoolEvent): string {
  const { kind, phase, zone, direction, state } = event
  const ended = phase === 'end'
  switch (kind) {
    case 'object':
      return `${event.label ?? 'object'} ${ended ? 'gone' : 'seen'}`
    case 'zone':
      return `${{ begin: 'entered', update: 'is in', end: 'left' }[phase]} zone ${zone}`
    case 'line':
      return `crossed line ${zone}${direction ? ` ${direction}wards` : ''}`
    case 'dwell':
      return `${ended ? 'stayed' : 'has stayed'} ${duration(event.duration_s)} in zone ${zone}`
    case 'camera':
      if (!state) return 'camera paused or removed while lost'
      return state === 'back' ? `camera is back after ${duration(event.duration_s)}` : 'camera lost'
    default:
      // A kind that only a newer server knows.
      return String(kind)
  }
}
