/** Numbers and times as the dashboard shows them. */

const NARROW_SPACE = '\u202f'

/** Frames per second, with one decimal under two and none above; `–` if unknown. */
export function fps(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return '–'
  return value > 0 && value < 1.95 ? String(Math.round(value * 10) / 10) : grouped(value)
}

/** Whole milliseconds; seconds from 10 s on. */
export function milliseconds(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return '–'
  return value < 10_000 ? `${grouped(Math.round(value))} ms` : `${Math.round(value / 1000)} s`
}

/** A count with thin-space groups: 12 345. */
export function grouped(value: number): string {
  if (!Number.isFinite(value)) return '–'
  return String(Math.round(value)).replace(/\B(?=(\d{3})+(?!\d))/g, NARROW_SPACE)
}

/** A number of pods, with one decimal below ten and none above. */
export const pods = (value: number): string => (value < 9.95 ? String(Math.round(value * 10) / 10) : grouped(value))

/** A duration in words: 12 s, 3 min, 2 h. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '0 s'
  if (seconds < 90) return `${Math.round(seconds)} s`
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`
  return `${Math.round(seconds / 3600)} h`
}

/** Time of day, local: 14:03:09. */
export const clockTime = (unixMs: number): string =>
  new Date(unixMs).toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hour12: false,
  })

/** Time of day; with the day unless it is `today`, a `toDateString`. */
export function dayTime(unixMs: number, today: string): string {
  const date = new Date(unixMs)
  if (date.toDateString() === today) return clockTime(unixMs)
  return `${date.toLocaleDateString(undefined, { day: 'numeric', month: 'short' })}, ${clockTime(unixMs)}`
}

/** `1 stream`, `2 streams`. */
export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${grouped(count)} ${count === 1 ? one : many}`
