/**
 * How the streams are shown. Kept in the address, so that a view can be shared and bookmarked.
 *
 * `parseOptions` and `optionsQuery` are pure; `useViewOptions` connects them to the router. An invalid value in an
 * address counts as the default.
 */
import { computed } from 'vue'
import { type LocationQuery, type LocationQueryRaw, useRoute, useRouter } from 'vue-router'

import type { Stream } from './api/types'

export const SORTS = ['name', 'type', 'fps', 'latency', 'state'] as const
export const SIZES = ['s', 'm', 'l'] as const
export type Sort = (typeof SORTS)[number]
export type Size = (typeof SIZES)[number]

export interface ViewOptions {
  search: string
  types: readonly string[]
  sort: Sort
  size: Size
  boxes: boolean
  labels: boolean
  /** Whether to draw the paths of objects during the last two seconds. */
  trails: boolean
  /** Whether to draw the camera's zones and lines with their counts. */
  zones: boolean
  /** Minimum confidence shown, 0..1, in steps of 0.05. */
  threshold: number
  /** Labels to show; null shows all. */
  only: readonly string[] | null
  wall: boolean
}

export const DEFAULTS: ViewOptions = {
  search: '',
  types: [],
  sort: 'name',
  size: 'm',
  boxes: true,
  labels: true,
  trails: true,
  zones: true,
  threshold: 0,
  only: null,
  wall: false,
}

const PARAMETERS = new Set('q type sort size boxes labels trails zones min show wall'.split(' '))

export function parseOptions(query: LocationQuery): ViewOptions {
  const text = (name: string): string | undefined => {
    const value = query[name]
    return (Array.isArray(value) ? value[0] : value) ?? undefined
  }
  const list = (name: string): string[] => [...new Set((text(name) ?? '').split(',').filter(Boolean))].slice(0, 100)
  const one = <T extends string>(name: string, allowed: readonly T[], otherwise: T): T =>
    allowed.find((value) => value === text(name)) ?? otherwise
  const threshold = Number(text('min'))
  return {
    search: (text('q') ?? '').slice(0, 128),
    types: list('type'),
    sort: one('sort', SORTS, DEFAULTS.sort),
    size: one('size', SIZES, DEFAULTS.size),
    boxes: text('boxes') !== '0',
    labels: text('labels') !== '0',
    trails: text('trails') !== '0',
    zones: text('zones') !== '0',
    threshold: threshold > 0 && threshold <= 1 ? Math.round(threshold * 20) / 20 : 0,
    only: text('show') === undefined ? null : list('show').map(decodeLabel),
    wall: 'wall' in query && text('wall') !== '0',
  }
}

/** The query of these options, without those at their defaults. */
export function optionsQuery(options: ViewOptions): LocationQueryRaw {
  const query: LocationQueryRaw = {}
  if (options.search) query.q = options.search
  if (options.types.length) query.type = options.types.join(',')
  if (options.sort !== DEFAULTS.sort) query.sort = options.sort
  if (options.size !== DEFAULTS.size) query.size = options.size
  if (!options.boxes) query.boxes = '0'
  if (!options.labels) query.labels = '0'
  if (!options.trails) query.trails = '0'
  if (!options.zones) query.zones = '0'
  if (options.threshold) query.min = String(options.threshold)
  if (options.only) query.show = options.only.map(encodeLabel).join(',')
  if (options.wall) query.wall = '1'
  return query
}

// A label may hold a comma, which separates labels in the address.
const encodeLabel = (label: string): string => label.replaceAll('%', '%25').replaceAll(',', '%2C')
const decodeLabel = (text: string): string => text.replaceAll('%2C', ',').replaceAll('%25', '%')

const STATE_ORDER: Record<Stream['state'], number> = {
  stalled: 0,
  reconnecting: 1,
  waiting_for_key_frame: 2,
  waiting: 3,
  quiet: 4,
  live: 5,
}

/** The streams that pass the filters, sorted. The order is stable: equal streams are sorted by name and type. */
export function selectStreams(streams: readonly Stream[], options: ViewOptions): Stream[] {
  const wanted = options.search.trim().toLowerCase()
  const chosen = streams.filter(
    (stream) =>
      (!wanted || stream.name.toLowerCase().includes(wanted)) &&
      (!options.types.length || options.types.includes(stream.type)),
  )
  const byName = new Intl.Collator('en', { numeric: true })
  const name = (a: Stream, b: Stream): number => byName.compare(a.name, b.name) || byName.compare(a.type, b.type)
  const orders: Record<Sort, (a: Stream, b: Stream) => number> = {
    name,
    type: (a, b) => byName.compare(a.type, b.type),
    // Rates change a little all the time; whole steps keep tiles in place.
    fps: (a, b) => Math.round(b.fps) - Math.round(a.fps),
    latency: (a, b) => Math.round((b.latency_ms ?? 0) / 20) - Math.round((a.latency_ms ?? 0) / 20),
    state: (a, b) => STATE_ORDER[a.state] - STATE_ORDER[b.state],
  }
  return chosen.sort((a, b) => orders[options.sort](a, b) || name(a, b))
}

export function useViewOptions() {
  const route = useRoute()
  const router = useRouter()
  const options = computed(() => parseOptions(route.query))
  /** Changes some options; the address follows without a new entry in the history. */
  const set = (change: Partial<ViewOptions>): void => {
    const others = Object.fromEntries(Object.entries(route.query).filter(([name]) => !PARAMETERS.has(name)))
    void router.replace({ query: { ...others, ...optionsQuery({ ...options.value, ...change }) } })
  }
  return { options, set }
}
