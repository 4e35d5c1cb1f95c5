/**
 * Keeps streams of one source in step: shows the newest frame (`seq`) for which all of them have a result.
 *
 * The group stops waiting for a member that sends nothing for a while. If there is no common frame for a while (one
 * stream is far slower, or the producer gives no `seq`), each member shows its newest. Pure; the time is an argument.
 */
export interface Stepped {
  readonly seq: number | null
}

/** The group waits for a member only while its last frame is younger than this. */
export const ACTIVE_MS = 3000
/** Without a common frame for this long, each member shows its own newest frame. */
export const OUT_OF_STEP_MS = 2000
// Three seconds at 15 fps: streams that are further apart are not kept in step.
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

  /** Adds a frame. Returns the frames to show now, by member, or null while the group waits for the others. */
  add(member: number, frame: T, nowMs: number): Map<number, T> | null {
    const own = this.waiting.get(member)
    if (!own) return null
    if (this.lastSetMs === -Infinity) {
      this.lastSetMs = nowMs
      // At the start the group waits for all, even for those that have not sent anything.
      for (const one of this.members) this.lastCame.set(one, nowMs)
    }
    this.lastCame.set(member, nowMs)
    // The producer restarted and counts from the start: frames with its old numbers are useless.
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
    // A member that is shown while the others are missing is not in step.
    this.inStep = inStep && set.size === this.members.length
    return set
  }
}
