/** Summarises the state of an inference type in a sentence. Pure. */
import type { TypeStats } from '../api/types'
import { fps, grouped, plural, pods } from '../format'

export type Mood = 'good' | 'warn' | 'bad' | 'idle'

export interface Verdict {
  mood: Mood
  /** One word for the badge. */
  word: string
  text: string
}

/** Share of the frames that are dropped, 0..1. */
export function droppedShare(stats: Pick<TypeStats, 'infer_fps' | 'drop_fps'>): number {
  const drops = stats.drop_fps ?? 0
  const demand = stats.infer_fps + drops
  return demand > 0 ? drops / demand : 0
}

const percent = (share: number): string => {
  const value = share * 100
  return value > 0 && value < 1 ? 'under 1 %' : `${Math.round(value)} %`
}

export function verdict(stats: TypeStats): Verdict {
  const [mood, word, text] = judge(stats)
  return { mood, word, text: `${stats.type}: ${text}` }
}

function judge(stats: TypeStats): [mood: Mood, word: string, text: string] {
  const { replicas } = stats
  const ratio = stats.scale_ratio ?? 0
  if (!replicas) return judgeWithoutPods(stats)
  const needed = ratio * replicas
  const share = droppedShare(stats)
  const load = `${fps(stats.infer_fps)} fps on ${plural(replicas, 'pod')}, ${percent(ratio)} used`
  if ((stats.drop_fps ?? 0) >= 0.05 && share >= 0.001) {
    const dropped = `${percent(share)} of frames dropped`
    // A pool that drops a little while its mean ratio is under one is not too small: its load comes in bursts.
    const tooSmall = needed > replicas && pods(needed) !== pods(replicas)
    const size = tooSmall ? `${pods(needed)} pods needed, ${grouped(replicas)} running` : load
    return [share >= 0.05 ? 'bad' : 'warn', 'dropping', `${size}, ${dropped}`]
  }
  if (stats.infer_fps < 0.05) return ['idle', 'idle', `idle, ${plural(replicas, 'pod')} waiting for frames`]
  if (ratio >= 0.9) return ['warn', 'full', `${load}, no drops; nearly full`]
  if (replicas > 1 && needed < (replicas - 1) * 0.8) return ['good', 'underused', `${load}, no drops; can scale in`]
  return ['good', 'healthy', `${load}, no drops`]
}

function judgeWithoutPods(stats: TypeStats): [Mood, string, string] {
  const { streams, queue_length: queued, drop_fps: drops } = stats
  if (!streams && !queued) return ['idle', 'no pods', 'no pods and no streams']
  const waiting = streams ? plural(streams, 'stream') : plural(queued ?? 0, 'frame')
  const dropped = (drops ?? 0) >= 0.05 ? `${fps(drops!)} fps dropped` : 'frames are dropped within seconds'
  return ['bad', 'no pods', `no pods, ${waiting} waiting; ${dropped}`]
}
