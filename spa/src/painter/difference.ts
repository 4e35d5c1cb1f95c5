/** Which detections two results of the same frame share. Pure; called for the compare view. */
import type { Mark } from './boxes'
import type { Found } from './result_message'

/** Boxes of one label that overlap by at least this much (intersection over union) count as the same object. */
export const SAME_IOU = 0.5

export function overlap(a: Found, b: Found): number {
  const width = Math.min(a.x1, b.x1) - Math.max(a.x0, b.x0)
  const height = Math.min(a.y1, b.y1) - Math.max(a.y0, b.y0)
  if (width <= 0 || height <= 0) return 0
  const both = width * height
  return both / ((a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - both)
}

/** Marks for both lists. The most confident are matched first, and each detection at most once. */
export function compareFound(left: readonly Found[], right: readonly Found[]): [Mark[], Mark[]] {
  const leftMarks = left.map((): Mark => 'only')
  const rightMarks = right.map((): Mark => 'only')
  for (let i = left.length - 1; i >= 0; i -= 1) {
    let best = -1
    let bestOverlap = SAME_IOU
    for (let j = 0; j < right.length; j += 1) {
      if (rightMarks[j] === 'both' || right[j]!.label !== left[i]!.label) continue
      const value = overlap(left[i]!, right[j]!)
      if (value >= bestOverlap) {
        best = j
        bestOverlap = value
      }
    }
    if (best >= 0) {
      leftMarks[i] = 'both'
      rightMarks[best] = 'both'
    }
  }
  return [leftMarks, rightMarks]
}
