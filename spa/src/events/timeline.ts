/** Events of one camera as bars on an axis of time, in lanes by zone, line or label. Pure; times are local Unix ms. */
import type { PoolEvent } from '@/api/types'

/** More lanes than this do not fit; the last one has the rest. */
export const MAX_LANES = 12
/** Bars in one view: more cannot be told apart, and would make the page slow. */
export const MAX_BARS = 1000
export const HOURS = [1, 6, 24] as const

/** An event from `left` to `right`, shares of the axis. */
export interface Bar {
  event: PoolEvent
  left: number
  right: number
  /** It has not ended. */
  open: boolean
}

export interface Lane {
  word: string
  bars: Bar[]
}

const laneOf = ({ kind, zone, label }: PoolEvent): string => {
  if (kind === 'camera') return 'camera'
  if (kind === 'line') return `line ${zone}`
  return zone === null || kind === 'object' ? (label ?? 'object') : `zone ${zone}`
}

/** `local` turns the server's Unix ms into ours. Bars that lie beside the axis are left out. */
export function lanesOf(
  events: readonly PoolEvent[],
  fromMs: number,
  toMs: number,
  local: (serverMs: number) => number,
): Lane[] {
  const share = (ms: number): number => Math.min(1, Math.max(0, (ms - fromMs) / (toMs - fromMs)))
  const lanes = new Map<string, Bar[]>()
  for (const event of events.slice(0, MAX_BARS)) {
    const open = event.phase !== 'end' && event.kind !== 'line'
    const beginMs = local(event.kind === 'line' ? event.at_ms : event.began_ms)
    const endMs = open ? toMs : local(event.ended_ms ?? event.at_ms)
    if (endMs < fromMs || beginMs > toMs) continue
    const word = laneOf(event)
    const bars = lanes.get(word) ?? []
    bars.push({ event, left: share(beginMs), right: share(endMs), open })
    lanes.set(word, bars)
  }
  const sorted = [...lanes]
    .map(([word, bars]): Lane => ({ word, bars: bars.sort((a, b) => a.left - b.left) }))
    .sort((a, b) => (a.word < b.word ? -1 : 1))
  if (sorted.length <= MAX_LANES) return sorted
  const rest = sorted.slice(MAX_LANES - 1).flatMap(({ bars }) => bars)
  return [...sorted.slice(0, MAX_LANES - 1), { word: 'others', bars: rest.sort((a, b) => a.left - b.left) }]
}

const MINUTE_MS = 60_000
/** The first of these that gives at most seven marks. */
const STEPS_MS = [10, 60, 240].map((minutes) => minutes * MINUTE_MS)

/** Full hours, or tens of minutes, by the clock on the wall. */
export function ticksOf(fromMs: number, toMs: number): { at: number; ms: number }[] {
  const step = STEPS_MS.find((one) => (toMs - fromMs) / one <= 7) ?? STEPS_MS.at(-1)!
  const ahead = new Date(toMs).getTimezoneOffset() * MINUTE_MS
  const ticks = []
  for (let ms = Math.ceil((fromMs - ahead) / step) * step + ahead; ms <= toMs; ms += step)
    ticks.push({ at: (ms - fromMs) / (toMs - fromMs), ms })
  return ticks
}

/** Where an arrow key leads from a bar: `[lane, bar]`; the same place at an edge, null for another key. */
export function moved(lanes: readonly Lane[], [lane, bar]: readonly [number, number], key: string) {
  const bars = lanes[lane]?.bars ?? []
  const steps: Record<string, number> = {
    ArrowLeft: Math.max(0, bar - 1),
    ArrowRight: Math.min(bars.length - 1, bar + 1),
    Home: 0,
    End: bars.length - 1,
  }
  if (key in steps) return [lane, steps[key]!] as const
  if (key !== 'ArrowUp' && key !== 'ArrowDown') return null
  const next = Math.min(lanes.length - 1, Math.max(0, lane + (key === 'ArrowUp' ? -1 : 1)))
  if (next === lane) return [lane, bar] as const
  const left = bars[bar]?.left ?? 0
  const distances = lanes[next]!.bars.map((one) => Math.abs(one.left - left))
  return [next, distances.indexOf(Math.min(...distances))] as const
}
