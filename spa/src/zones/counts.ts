/** What the zones and lines of a camera have counted, as figures and as rows of a chart. Pure. */
import type { CameraCounts } from '@/api/types'
import { duration, grouped } from '@/format'

export const HOUR_MINUTES = 60
const MINUTE_MS = 60_000

type Row = (number | null)[]

export interface CountFigure {
  readonly kind: 'zone' | 'line'
  readonly name: string
  /** For each label its totals in words. */
  readonly totals: readonly { readonly label: string; readonly words: string }[]
  /** Times (Unix seconds), what goes up, what goes down (below zero), and for a zone how many were inside. */
  readonly data: readonly [number[], ...Row[]]
}

/** The figures of one inference type over the hour up to `endMs`. Minutes of which nothing is known are gaps. */
export function countFigures(counts: CameraCounts, type: string, endMs: number): CountFigure[] {
  const last = Math.max(minuteOf(endMs), minuteOf(counts.minutes.at(-1) ?? 0))
  const grid = Array.from({ length: HOUR_MINUTES }, (_, index) => last - HOUR_MINUTES + 1 + index)
  const times = grid.map((minute) => minute * 60)
  const places = new Map(counts.minutes.map((begin, index) => [minuteOf(begin), index]))
  /** The sum over all labels, minute by minute. */
  const sum = (rows: readonly (readonly number[])[], sign = 1): Row =>
    grid.map((minute) => {
      const place = places.get(minute)
      return place === undefined ? null : sign * rows.reduce((total, row) => total + (row[place] ?? 0), 0)
    })
  const zones = counts.zones.map(({ name, labels }): CountFigure => {
    const own = labels.filter((one) => one.type === type)
    return {
      kind: 'zone',
      name,
      totals: own.map(({ label, present, entered, left, longest_s }) => ({
        label,
        words: [
          `${grouped(present)} inside`,
          `${grouped(entered)} entered`,
          `${grouped(left)} left`,
          `longest ${duration(longest_s)}`,
        ].join(', '),
      })),
      data: [
        times,
        sum(own.map((one) => one.by_minute.entered)),
        sum(
          own.map((one) => one.by_minute.left),
          -1,
        ),
        sum(own.map((one) => one.by_minute.present)),
      ],
    }
  })
  const lines = counts.lines.map(({ name, labels }): CountFigure => {
    const own = labels.filter((one) => one.type === type)
    return {
      kind: 'line',
      name,
      totals: own.map((one) => ({ label: one.label, words: `${grouped(one.in)} in, ${grouped(one.out)} out` })),
      data: [
        times,
        sum(own.map((one) => one.by_minute.in)),
        sum(
          own.map((one) => one.by_minute.out),
          -1,
        ),
      ],
    }
  })
  return [...zones, ...lines]
}

const minuteOf = (unixMs: number): number => Math.floor(unixMs / MINUTE_MS)
