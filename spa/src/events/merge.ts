/** Revisions of events become a list with one row for each event. Pure. */
import type { PoolEvent } from '@/api/types'

/** How many events the page keeps; the oldest are dropped. */
export const MAX_ROWS = 1000
/** How many events the server sends at once. */
const SENT_AT_ONCE = 50

/** `rows` and `more`, the newest first. The newest revision of an event wins; an event that is known stays the same. */
export function mergeEvents(rows: readonly PoolEvent[], more: readonly PoolEvent[]): readonly PoolEvent[] {
  const byId = new Map(rows.map((event) => [event.id, event]))
  let changed = false
  for (const event of more) {
    if (event.rev <= (byId.get(event.id)?.rev ?? 0)) continue
    byId.set(event.id, event)
    changed = true
  }
  if (!changed) return rows
  return [...byId.values()].sort((a, b) => b.at_ms - a.at_ms || (a.id < b.id ? -1 : 1)).slice(0, MAX_ROWS)
}

/** Whether events may be missing between two messages of the server, because the two share none. */
export function leavesGap(before: readonly PoolEvent[], now: readonly PoolEvent[]): boolean {
  if (now.length < SENT_AT_ONCE) return false
  const known = new Set(before.map(({ id, rev }) => `${rev} ${id}`))
  return !now.some(({ id, rev }) => known.has(`${rev} ${id}`))
}
