/**
 * The server's clock, learnt from the times it sends.
 *
 * A time arrives late by the network's delay and never early, so of several samples the one with the smallest
 * (local - server) is nearest to the truth. Samples are forgotten after a while, since clocks drift.
 */
const KEPT = 60

export class ServerClock {
  private samples: number[] = []

  /** Takes a time that the server sent (Unix ms) and the local time at which it came (Unix ms). */
  learn(serverMs: number, localMs: number): void {
    if (!Number.isFinite(serverMs)) return
    this.samples.push(serverMs - localMs)
    if (this.samples.length > KEPT) this.samples.shift()
  }

  /** What to add to the local clock to get the server's, ms; null before the first sample. */
  get offsetMs(): number | null {
    return this.samples.length ? Math.max(...this.samples) : null
  }
}
