/**
 * What was removed on this page. The request is sent after a while; until then the removal can be undone.
 *
 * `flush` sends all at once, when the page is left.
 */
import { shallowRef, triggerRef } from 'vue'

export const UNDO_MS = 6000

export interface Named {
  readonly name: string
}

export class Removals<T extends Named> {
  /** What is not shown any more, by name. */
  readonly pending = shallowRef(new Map<string, T>())
  private readonly timers = new Map<string, ReturnType<typeof setTimeout>>()

  constructor(private readonly send: (one: T) => Promise<void>) {}

  remove(one: T): void {
    if (this.pending.value.has(one.name)) return
    this.pending.value.set(one.name, one)
    triggerRef(this.pending)
    this.timers.set(
      one.name,
      setTimeout(() => this.finish(one.name), UNDO_MS),
    )
  }

  /** Cancels a removal; false if it is too late. */
  undo(name: string): boolean {
    if (!this.timers.has(name)) return false
    clearTimeout(this.timers.get(name))
    this.timers.delete(name)
    this.forget(name)
    return true
  }

  flush(): void {
    for (const name of [...this.timers.keys()]) this.finish(name)
  }

  /** Whether it can still be undone. */
  canUndo(name: string): boolean {
    return this.timers.has(name)
  }

  private finish(name: string): void {
    const one = this.pending.value.get(name)
    clearTimeout(this.timers.get(name))
    this.timers.delete(name)
    triggerRef(this.pending)
    // Hidden until the answer arrives, whatever it is. From then on the server's list counts.
    if (one) void this.send(one).finally(() => this.forget(name))
  }

  private forget(name: string): void {
    this.pending.value.delete(name)
    triggerRef(this.pending)
  }
}
