/**
 * Turns for fetching snapshots: a few at a time, in order of asking, so that a table of hundreds of cameras does not
 * ask the server for all at once. Pure.
 */
export class Turns {
  private running = 0
  private readonly waiting: (() => void)[] = []

  constructor(private readonly atOnce: number) {}

  /** Calls `start` as soon as there is room. The returned function ends the turn, or the wait for it. */
  take(start: () => void): () => void {
    let state: 'waiting' | 'running' | 'ended' = 'waiting'
    const begin = (): void => {
      state = 'running'
      this.running += 1
      start()
    }
    if (this.running < this.atOnce) begin()
    else this.waiting.push(begin)
    return () => {
      if (state === 'waiting') this.waiting.splice(this.waiting.indexOf(begin), 1)
      else if (state === 'running') {
        this.running -= 1
        this.waiting.shift()?.()
      }
      state = 'ended'
    }
  }
}

export const snapshotTurns = new Turns(2)
