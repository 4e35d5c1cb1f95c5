/** Mean detections per image by label over the last two minutes, one point each half second. Pure. */
export const KEPT_MS = 120_000
const MAX_LABELS = 8
// A slow stream may paint nothing between two reports; its last value holds for this long.
const CARRIED_MS = 3000

export class LabelTimeline {
  readonly labels: string[] = []
  private times: number[] = []
  private lastFrameMs = -Infinity
  private values: (number | null)[][] = []

  /** `sums` are the detections in `frames` frames since the last call; without a frame there is a gap. */
  add(nowMs: number, sums: readonly (readonly [string, number])[], frames: number): void {
    for (const [label] of sums) {
      if (this.labels.includes(label) || this.labels.length >= MAX_LABELS) continue
      this.labels.push(label)
      this.values.push(this.times.map(() => null))
    }
    this.times.push(nowMs / 1000)
    if (frames) this.lastFrameMs = nowMs
    const carried = nowMs - this.lastFrameMs < CARRIED_MS
    const now = new Map(sums)
    this.labels.forEach((label, index) =>
      this.values[index]!.push(
        frames ? (now.get(label) ?? 0) / frames : carried ? (this.values[index]!.at(-1) ?? null) : null,
      ),
    )
    let old = 0
    while (this.times[old]! < (nowMs - KEPT_MS) / 1000) old += 1
    if (!old) return
    this.times.splice(0, old)
    for (const values of this.values) values.splice(0, old)
  }

  /** Times (Unix seconds), then one row per label. */
  data(): (number | null)[][] {
    return [[...this.times], ...this.values.map((values) => [...values])]
  }
}
