/** Mean detections per picture by label over the last two minutes, half a second a point. Pure. */
export const KEPT_MS = 120_000
const MOST_LABELS = 8
// A slow stream paints nothing between two reports: its last value holds so long.
const CARRIED_MS = 3000

export class LabelTimeline {
  readonly labels: string[] = []
  private times: number[] = []
  private lastPictureMs = -Infinity
  private values: (number | null)[][] = []

  /** `sums` are detections over `frames` pictures since the last call; no picture is a gap. */
  add(nowMs: number, sums: readonly (readonly [string, number])[], frames: number): void {
    for (const [label] of sums) {
      if (this.labels.includes(label) || this.labels.length >= MOST_LABELS) continue
      this.labels.push(label)
      this.values.push(this.times.map(() => null))
    }
    this.times.push(nowMs / 1000)
    if (frames) this.lastPictureMs = nowMs
    const carried = nowMs - this.lastPictureMs < CARRIED_MS
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
