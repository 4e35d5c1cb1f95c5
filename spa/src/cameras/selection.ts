/**
 * Which cameras the table shows, and in which order. The address keeps it, like the options of the streams.
 *
 * An invalid value in an address counts as the default.
 */
import type { LocationQuery, LocationQueryRaw } from 'vue-router'

import type { Camera, CameraState } from '@/api/types'

import { STATE_WORDS, stateOf } from './state_words'

export const COLUMNS = ['name', 'state', 'fps', 'worker', 'cost', 'types', 'frame'] as const
export type Column = (typeof COLUMNS)[number]

export interface Selection {
  search: string
  states: readonly CameraState[]
  /** `key=value`, or null for all. */
  label: string | null
  sort: Column
  descending: boolean
}

export const STATES = Object.keys(STATE_WORDS) as CameraState[]
// Problems first.
const STATE_RANK: readonly (CameraState | null)[] = [
  'quarantined',
  'unassigned',
  'reconnecting',
  'stalled',
  'waiting_for_key_frame',
  null,
  'quiet',
  'live',
  'paused',
]

const first = (value: LocationQuery[string] | undefined): string => (Array.isArray(value) ? value[0] : value) ?? ''

export function parseSelection(query: LocationQuery): Selection {
  const wanted = first(query.state).split(',')
  const sort = first(query.sort)
  const column = COLUMNS.find((one) => one === sort.replace(/^-/, ''))
  return {
    search: first(query.q).slice(0, 128),
    states: STATES.filter((state) => wanted.includes(state)),
    label: first(query.label) || null,
    sort: column ?? 'name',
    descending: column !== undefined && sort.startsWith('-'),
  }
}

/** The query of this selection, without defaults. */
export function selectionQuery(selection: Selection): LocationQueryRaw {
  const query: LocationQueryRaw = {}
  if (selection.search) query.q = selection.search
  if (selection.states.length) query.state = selection.states.join(',')
  if (selection.label !== null) query.label = selection.label
  if (selection.sort !== 'name' || selection.descending)
    query.sort = `${selection.descending ? '-' : ''}${selection.sort}`
  return query
}

export const labelsOf = (camera: Camera): string[] =>
  Object.entries(camera.spec.labels).map(([key, value]) => `${key}=${value}`)

/** The number of cameras in each state that occurs, in the order of `STATES`. */
export function stateCounts(cameras: readonly Camera[]): [CameraState, number][] {
  const counts = new Map<CameraState, number>()
  for (const camera of cameras) {
    const state = stateOf(camera)
    if (state !== null) counts.set(state, (counts.get(state) ?? 0) + 1)
  }
  return STATES.flatMap((state) => (counts.has(state) ? [[state, counts.get(state)!]] : []))
}

const byName = new Intl.Collator('en', { numeric: true })

/** Whether the camera's texts contain each word of the search. */
function matches(camera: Camera, words: readonly string[]): boolean {
  const { spec, status } = camera
  const text = [spec.name, spec.url, ...spec.types, status.worker ?? '', ...labelsOf(camera)].join(' ').toLowerCase()
  return words.every((word) => text.includes(word))
}

const compare: Record<Column, (a: Camera, b: Camera) => number> = {
  name: (a, b) => byName.compare(a.name, b.name),
  state: (a, b) => STATE_RANK.indexOf(stateOf(a)) - STATE_RANK.indexOf(stateOf(b)),
  // Rates and costs change a little all the time; whole steps keep rows in place.
  fps: (a, b) => Math.round(a.status.fps) - Math.round(b.status.fps),
  worker: (a, b) => byName.compare(a.status.worker ?? '', b.status.worker ?? ''),
  cost: (a, b) => Math.round(a.status.cost * 50) - Math.round(b.status.cost * 50),
  types: (a, b) => byName.compare(a.spec.types.join(), b.spec.types.join()),
  // By the minute, since every live camera has a frame of this second.
  frame: (a, b) => Math.round((a.status.frame_ms ?? 0) / 60_000) - Math.round((b.status.frame_ms ?? 0) / 60_000),
}

/** The cameras that pass the filters, sorted; equal ones by name. */
export function selectCameras(cameras: readonly Camera[], selection: Selection): Camera[] {
  const words = selection.search.trim().toLowerCase().split(/\s+/).filter(Boolean)
  const { states, label, sort } = selection
  const sign = selection.descending ? -1 : 1
  return cameras
    .filter((camera) => {
      const state = stateOf(camera)
      return (
        matches(camera, words) &&
        (!states.length || (state !== null && states.includes(state))) &&
        (label === null || labelsOf(camera).includes(label))
      )
    })
    .sort((a, b) => sign * compare[sort](a, b) || compare.name(a, b))
}
