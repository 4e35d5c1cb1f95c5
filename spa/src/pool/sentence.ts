/** What a type's numbers mean, in words. Pure. */
import type { TypeStats } from '../api/types'
import { fps, grouped, plural, pods } from '../format'

export type Mood = 'good' | 'warn' | 'bad' | 'idle'

export interface Verdict {
  mood: Mood
  /** One word for the badge. */
  word: string
  text: string
}

/** Frames a second that a type's pods can infer together, by what they say of themselves; null where unknown. */
export function capacityFps(
  stats: Pick<TypeStats, 'infer_fps' | 'drop_fps' | 'scale_ratio' | 'replicas'>,
): number | null {
  if (!stats.replicas || !(stats.scale_ratio > 0)) return null
  return (stats.infer_fps + stats.drop_fps) / stats.scale_ratio
}

/** Share of the frames that are dropped, 0..1. */
export function droppedShare(stats: Pick<TypeStats, 'infer_fps' | 'drop_fps'>): number {
  const demand = stats.infer_fps + stats.drop_fps
  return demand > 0 ? stats.drop_fps / demand : 0
}

const percent = (share: number): string => {
  const value = share * 100
  return value > 0 && value < 1 ? 'under 1 %' : `${Math.round(value)} %`
}

export function verdict(stats: TypeStats): Verdict {
  const { type, replicas, scale_ratio: ratio } = stats
  if (!replicas) {
    if (!stats.streams && !stats.queue_length)
      return { mood: 'idle', word: 'no pod', text: `${type} has no pod and no stream.` }
    const what = stats.streams
      ? plural(stats.streams, 'stream waits', 'streams wait')
      : plural(stats.queue_length ?? 0, 'frame waits', 'frames wait')
    return {
      mood: 'bad',
      word: 'no pod',
      text: `${type} has no pod: ${what}, and what is not inferred within seconds is dropped.`,
    }
  }
  const needs = ratio * replicas
  const has = grouped(replicas)
  const share = droppedShare(stats)
  const podWord = pods(needs) === '1' ? 'pod' : 'pods'
  if (stats.drop_fps >= 0.05 && share >= 0.001) {
    // A pool that drops a little while its mean ratio is under one is not too small: it is bursty.
    const text =
      needs > replicas
        ? `${type} needs ${pods(needs)} ${podWord} and has ${has}: ${percent(share)} of frames are dropped.`
        : `${type} uses ${percent(ratio)} of its ${plural(replicas, 'pod')}, and still ${percent(share)} of frames are dropped.`
    return { mood: share >= 0.05 ? 'bad' : 'warn', word: 'dropping', text }
  }
  if (stats.infer_fps < 0.05)
    return {
      mood: 'idle',
      word: 'idle',
      text: `${type} is idle: ${plural(replicas, 'pod waits', 'pods wait')} for frames.`,
    }
  if (ratio >= 0.9)
    return {
      mood: 'warn',
      word: 'full',
      text: `${type} is nearly full: ${pods(needs)} of ${plural(replicas, 'pod')} in use, no frame is dropped.`,
    }
  if (replicas > 1 && needs < (replicas - 1) * 0.8) {
    return {
      mood: 'good',
      word: 'roomy',
      text: `${type} needs ${pods(needs)} ${podWord} and has ${has}: it can shrink. No frame is dropped.`,
    }
  }
  return {
    mood: 'good',
    word: 'well',
    text: `${type} uses ${percent(ratio)} of its ${plural(replicas, 'pod')} for ${fps(stats.infer_fps)} frames a second: no frame is dropped.`,
  }
}
