/** Calls of the API for the event log. */
import type { EventSelection } from '@/events/selection'

import { BASE } from './base'
import { ApiError, call, encodePath } from './client'
import type { EventPage, PoolEvent } from './types'

/** A page of the log: its newest, or from a `cursor` on. Each entry is one revision of an event. */
export function listEvents(
  selection: EventSelection,
  limit: number,
  cursor: string | null,
  more: Readonly<Record<string, string>> = {},
): Promise<EventPage> {
  const query = new URLSearchParams({ limit: String(limit), ...more })
  for (const [name, value] of Object.entries({ ...selection, cursor })) if (value) query.set(name, value)
  return call(`api/events/log?${query}`, { cache: 'no-store' })
}

/** Address of the image that an event had in this revision, null if it had none. */
export function eventImageAddress({ id, snapshot }: PoolEvent, base = BASE): string | null {
  const image = snapshot?.match(/\?image=(\d+-\d+)$/)?.[1]
  return image === undefined ? null : `${base}api/events/${encodePath(id)}/snapshot?image=${image}`
}

// The browser logs each refusal as an error, so an image that the server has said is missing is not asked for again.
const missing = new Map<string, string>()
const MAX_MISSING = 2000

/** Why there is no image at this address, if the server has said so; else null. */
export const knownMissing = (address: string | null): string | null => missing.get(address ?? '') ?? null

/** Asks why there is no image at this address; null if nothing says so. */
export async function whyNoImage(address: string): Promise<string | null> {
  try {
    await call(address.slice(BASE.length))
    return null
  } catch (error) {
    if (!(error instanceof ApiError)) return null
    if (error.status === 404) {
      if (missing.size >= MAX_MISSING) missing.clear()
      missing.set(address, error.message)
    }
    return error.message
  }
}
