/**
 * Keeps streams of one source in step: of several results of the same pictures, the newest `seq` that all have.
 *
 * Pure; time comes in. A member that sent nothing for a while is waited for no longer, and where no common frame
 * comes for a while (one stream is far slower, or the producer gives no `seq`), each shows its newest.
 */
export interface Stepped {
  readonly seq: number | null
}

/** A member is waited for only while its last frame is younger than this. */
export const ACTIVE_MS = 3000
/** Without a common frame for so long, each shows its own newest. */
export const OUT_OF_STEP_MS = 2000
// Three seconds at 15 fps: further apart, two streams of one source are not worth holding together.
const KEPT = 45

export class StepGroup<T extends Stepped> {
  private readonly waiting = new Map<number, T[]>()
  private readonly lastCame = new Map<number, number>()
  private lastSetMs = -Infinity
  /** Whether the last set was one frame of all members. */
  inStep = true

  constructor(readonly members: readonly number[]) {
    for (const member of members) this.waiting.set(member, [])
  }

  /** Takes a frame; returns the set to show now, by member, or null while the others are waited for. */
  add(member: number, frame: T, nowMs: number): Map<number, T> | null {
    const own = this.waiting.get(member)
    if (!own) return null
    if (this.lastSetMs === -Infinity) {
      this.lastSetMs = nowMs
      // At the start all are waited for, those that never sent included.
      for (const one of this.members) this.lastCame.set(one, nowMs)
    }
    this.lastCame.set(member, nowMs)
    // A producer that restarted counts from the start again: what is held of the old count is of no use.
    if (frame.seq !== null && own.length && frame.seq < (own[own.length - 1]!.seq ?? 0)) own.length = 0
    own.push(frame)
    if (own.length > KEPT) own.shift()
    const active = this.members.filter((one) => nowMs - (this.lastCame.get(one) ?? -Infinity) < ACTIVE_MS)
    const common = frame.seq === null ? null : this.newestCommon(active)
    if (common !== null)
      return this.take(active, (frames) => frames.findIndex((one) => one.seq === common), nowMs, true)
    if (nowMs - this.lastSetMs < OUT_OF_STEP_MS) return null
    return this.take(active, (frames) => frames.length - 1, nowMs, false)
  }

  private newestCommon(active: readonly number[]): number | null {
    const [first, ...others] = active.map((member) => this.waiting.get(member)!)
    if (!first) return null
    for (let index = first.length - 1; index >= 0; index -= 1) {
      const seq = first[index]!.seq
      if (seq !== null && others.every((frames) => frames.some((one) => one.seq === seq))) return seq
    }
    return null
  }

  private take(
    active: readonly number[],
    pick: (frames: T[]) => number,
    nowMs: number,
    inStep: boolean,
  ): Map<number, T> | null {
    const set = new Map<number, T>()
    for (const member of active) {
      const frames = this.waiting.get(member)!
      const index = pick(frames)
      if (index < 0) continue
      set.set(member, frames[index]!)
      frames.splice(0, index + 1)
    }
    if (!set.size) return null
    if (inStep) this.lastSetMs = nowMs
    // One that shows pictures while the others are gone is in step with nobody.
    this.inStep = inStep && set.size === this.members.length
    return set
  }
}
