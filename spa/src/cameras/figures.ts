/** Ages and costs of cameras as the pages show them. */
import { clockTime, duration } from '@/format'

export interface Age {
  text: string
  title: string
}

export const NOW: Age = { text: 'just now', title: '' }

/** How long ago the frame was captured; `localMs` turns the server's seconds into local ms. */
export function age(frameMs: number | null, localMs: (serverS: number) => number, nowMs: number): Age {
  if (!frameMs) return { text: 'no frame', title: '' }
  const at = localMs(frameMs / 1000)
  const seconds = (nowMs - at) / 1000
  return { text: seconds < 2 ? NOW.text : `${duration(seconds)} ago`, title: `Last frame ${clockTime(at)}` }
}

/** CPU seconds a second as a share of one core: 12 %. */
export function coreShare(cost: number): string {
  if (!Number.isFinite(cost) || cost <= 0) return '–'
  return cost < 0.01 ? 'under 1 %' : `${Math.round(cost * 100)} %`
}
