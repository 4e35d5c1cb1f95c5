/** Calls of the log of events. */
import type { EventSelection } from '@/events/selection'

import { call } from './client'
import type { EventPage } from './types'

/** A page of the log: its newest, or from a `cursor` on. Each entry is one revision of an event. */
export function listEvents(selection: EventSelection, limit: number, cursor: string | null): Promise<EventPage> {
  const query = new URLSearchParams({ limit: String(limit) })
  for (const [name, value] of Object.entries({ ...selection, cursor })) if (value) query.set(name, value)
  return call(`api/events/log?${query}`, { cache: 'no-store' })
}
