/**
 * The server's clock, estimated from the times that the server sends.
 *
 * A time arrives late by the network delay, never early. So the sample with the largest server time minus local time is
 * the most accurate. Old samples are forgotten, since clocks drift.
 */
const KEPT = 60

export class ServerClock {
  private samples: number[] = []

  /** Adds a sample: a time that the server sent, and the local time when it arrived, both in Unix ms. */
  learn(serverMs: number, localMs: number): void {
    if (!Number.isFinite(serverMs)) return
    this.samples.push(serverMs - localMs)
    if (this.samples.length > KEPT) this.samples.shift()
  }

  /** Milliseconds to add to the local clock to get the server's; null before the first sample. */
  get offsetMs(): number | null {
    return this.samples.length ? Math.max(...this.samples) : null
  }
}
