/** The events of the last hours that fit a selection, with what happens since. */
import { ref, shallowRef, watch } from 'vue'

import { listEvents } from '@/api/event_log'
import type { PoolEvent } from '@/api/types'
import { sentence } from '@/cameras/store'

import { MAX_ROWS, mergeEvents } from './merge'
import { newest } from './newest'
import { type EventSelection, fits } from './selection'

const PAGE = 200
const MAX_PAGES = 10

/** `sinceMs` is by the server's clock. */
export function useEventWindow(selection: () => EventSelection, hours: () => number, serverNowMs: () => number) {
  const events = shallowRef<readonly PoolEvent[] | null>(null)
  const failure = ref('')
  /** From when on the events are complete, by the server's clock, if there were too many; else null. */
  const fromMs = ref<number | null>(null)
  let calls = 0

  async function read(): Promise<void> {
    const call = ++calls
    failure.value = ''
    const found: PoolEvent[] = []
    let cursor: string | null = null
    try {
      const since = String(Math.round(serverNowMs() - hours() * 3_600_000))
      for (let pages = 0; pages < MAX_PAGES; pages += 1) {
        const page = await listEvents(selection(), PAGE, cursor, { since })
        if (call !== calls) return
        found.push(...page.events)
        cursor = page.next
        if (cursor === null) break
      }
      const all = mergeEvents([], [...found, ...fitting()])
      const oldest = (list: readonly PoolEvent[]): number => list.at(-1)?.at_ms ?? 0
      fromMs.value = cursor === null && all.length < MAX_ROWS ? null : Math.max(oldest(found), oldest(all))
      events.value = all
    } catch (error) {
      if (call === calls) failure.value = sentence(error)
    }
  }

  const fitting = (): PoolEvent[] => (newest.value ?? []).filter((event) => fits(event, selection()))

  watch(newest, () => {
    if (events.value) events.value = mergeEvents(events.value, fitting())
  })
  watch(
    () => JSON.stringify([selection(), hours()]),
    () => {
      events.value = null
      void read()
    },
    { immediate: true },
  )
  return { events, failure, fromMs, reload: read }
}
