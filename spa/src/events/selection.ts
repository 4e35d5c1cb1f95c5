/**
 * Which events the page shows. The address keeps it, like the options of the streams.
 *
 * An invalid value in an address counts as none.
 */
import type { LocationQuery, LocationQueryRaw } from 'vue-router'

import type { EventKind, PoolEvent } from '@/api/types'

export const KINDS: readonly EventKind[] = ['object', 'zone', 'line', 'dwell', 'camera']

/** Null stands for all. */
export interface EventSelection {
  camera: string | null
  kind: EventKind | null
  label: string | null
}

export const ALL: EventSelection = { camera: null, kind: null, label: null }
// The server refuses longer ones.
const MAX_TEXT = 600

export function parseEventSelection(query: LocationQuery): EventSelection {
  const text = (name: string): string | null => {
    const value = query[name]
    return (Array.isArray(value) ? value[0] : value)?.slice(0, MAX_TEXT) || null
  }
  return { camera: text('camera'), kind: KINDS.find((kind) => kind === text('kind')) ?? null, label: text('label') }
}

/** The query of this selection, without what is not chosen. */
export const eventQuery = (selection: EventSelection): LocationQueryRaw =>
  Object.fromEntries(Object.entries(selection).filter(([, value]) => value !== null))

export const fits = (event: PoolEvent, { camera, kind, label }: EventSelection): boolean =>
  (camera === null || event.camera === camera) &&
  (kind === null || event.kind === kind) &&
  (label === null || event.label === label)
