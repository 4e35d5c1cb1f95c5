/** The newest events, as the server last sent them; null while it has sent none. */
import { shallowRef } from 'vue'

import type { EventPage, PoolEvent } from '@/api/types'

export const newest = shallowRef<readonly PoolEvent[] | null>(null)

export function takeEvents(page: EventPage): void {
  newest.value = page.events
}

export function forgetEvents(): void {
  newest.value = null
}
