/**
 * The last 15 minutes of the pool, one sample per second. Kept in the browser, so that it survives a reload.
 *
 * Pure except for the storage, which is passed in. A second without data from the server is a gap, not a zero.
 */
import { shallowRef, triggerRef } from 'vue'

import type { TypeStats } from '../api/types'

export const KEPT_S = 900
const SAVE_EVERY = 15
const KEY = 'ei-pool-history'

export const SERIES = ['infer_fps', 'drop_fps', 'scale_ratio', 'capacity_fps', 'queue_length', 'replicas'] as const
export type SeriesName = (typeof SERIES)[number]
export type Series = Record<SeriesName, (number | null)[]>

export class PoolHistory {
  /** Unix seconds of each sample, rising. */
  readonly times: number[] = []
  readonly types = new Map<string, Series>()
  /** Rises with each sample; charts watch it. */
  readonly version = shallowRef({ count: 0 })

  constructor(private readonly storage: Storage | null = sessionStore()) {
    this.restore()
  }

  /** Adds a sample; null is a gap. */
  sample(nowMs: number, types: readonly TypeStats[] | null): void {
    const now = Math.floor(nowMs / 1000)
    const last = this.times[this.times.length - 1]
    if (last !== undefined && now <= last) return
    // The page was suspended (a sleeping laptop, a hidden tab): one gap stands for all of it.
    if (last !== undefined && now > last + 5) this.push(last + 1, null)
    this.push(now, types)
    this.forget(now - KEPT_S)
    this.version.value.count += 1
    triggerRef(this.version)
    if (this.version.value.count % SAVE_EVERY === 0) this.save()
  }

  /** Forgets everything, since the next user to sign in may see less. */
  clear(): void {
    this.times.length = 0
    this.types.clear()
    try {
      this.storage?.removeItem(KEY)
    } catch {
      // The storage is blocked, so nothing is in it.
    }
  }

  private push(time: number, types: readonly TypeStats[] | null): void {
    this.times.push(time)
    for (const stats of types ?? []) {
      if (!this.types.has(stats.type)) this.types.set(stats.type, empty(this.times.length - 1))
    }
    for (const [type, series] of this.types) {
      const stats = types?.find((one) => one.type === type)
      for (const name of SERIES) series[name].push(stats ? round(stats[name]) : null)
    }
  }

  private forget(before: number): void {
    let old = 0
    while (old < this.times.length && this.times[old]! < before) old += 1
    if (!old) return
    this.times.splice(0, old)
    for (const [type, series] of this.types) {
      for (const name of SERIES) series[name].splice(0, old)
      if (series.replicas.every((value) => value === null)) this.types.delete(type)
    }
  }

  private save(): void {
    try {
      this.storage?.setItem(KEY, JSON.stringify({ times: this.times, types: [...this.types] }))
    } catch {
      // The storage is full or blocked; the history is lost on a reload.
    }
  }

  private restore(): void {
    let kept: unknown
    try {
      kept = JSON.parse(this.storage?.getItem(KEY) ?? 'null')
    } catch {
      return
    }
    if (!isKept(kept)) return
    this.times.push(...kept.times)
    for (const [type, series] of kept.types) this.types.set(type, series)
  }
}

function empty(length: number): Series {
  const nothing = (): null[] => Array.from({ length }, () => null)
  return {
    infer_fps: nothing(),
    drop_fps: nothing(),
    scale_ratio: nothing(),
    capacity_fps: nothing(),
    queue_length: nothing(),
    replicas: nothing(),
  }
}

function isKept(value: unknown): value is { times: number[]; types: [string, Series][] } {
  if (typeof value !== 'object' || value === null) return false
  const { times, types } = value as { times?: unknown; types?: unknown }
  return (
    Array.isArray(times) &&
    times.every((time, index) => typeof time === 'number' && (index === 0 || time > times[index - 1])) &&
    Array.isArray(types) &&
    types.every(
      (entry: unknown) =>
        Array.isArray(entry) &&
        typeof entry[0] === 'string' &&
        SERIES.every((name) => Array.isArray(entry[1]?.[name]) && entry[1][name].length === times.length),
    )
  )
}

const round = (value: number | null): number | null => (value === null ? null : Math.round(value * 100) / 100)

function sessionStore(): Storage | null {
  try {
    return sessionStorage
  } catch {
    return null
  }
}
