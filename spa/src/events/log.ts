/** The list of events that a page shows: pages of the log, and events that the server has sent since. */
import { computed, ref, shallowRef, watch } from 'vue'

import { ApiError } from '@/api/client'
import { listEvents } from '@/api/event_log'
import type { EventPage, PoolEvent } from '@/api/types'
import { useLive } from '@/live'

import { leavesGap, MAX_ROWS, mergeEvents } from './merge'
import { newest } from './newest'
import { type EventSelection, fits } from './selection'

const PAGE = 100
// A page may hold only revisions of events that are in the list already, or nothing that fits.
const MAX_PAGES = 5

/** The same set if it has them all, so that nothing is drawn again. */
const withMore = (all: ReadonlySet<string>, more: readonly string[]): ReadonlySet<string> =>
  more.every((one) => all.has(one)) ? all : new Set([...all, ...more])

/** The choices of the filters: all values seen so far. */
function useSeen() {
  const cameras = shallowRef<ReadonlySet<string>>(new Set())
  const labels = shallowRef<ReadonlySet<string>>(new Set())
  const learn = (events: readonly PoolEvent[]): void => {
    const [names, classes] = [events.map(({ camera }) => camera), events.flatMap(({ label }) => label ?? [])]
    cameras.value = withMore(cameras.value, names)
    labels.value = withMore(labels.value, classes)
  }
  return { cameras, labels, learn }
}

const fitting = (events: readonly PoolEvent[], selection: EventSelection): PoolEvent[] =>
  events.filter((event) => fits(event, selection))

/** Reads pages until one has an unknown event; null once the result is no longer wanted. */
async function readOn(
  selection: EventSelection,
  start: string | null,
  known: () => readonly PoolEvent[],
  wanted: () => boolean,
): Promise<EventPage | null> {
  const found: EventPage = { events: [], next: start }
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const page = await listEvents(selection, PAGE, found.next)
    if (!wanted()) return null
    found.events.push(...page.events)
    found.next = page.next
    if (page.next === null || mergeEvents(known(), found.events).length > known().length) break
  }
  return found
}

export function useEventLog(selection: () => EventSelection) {
  const { connection } = useLive()
  /** Null before the first answer. */
  const rows = shallowRef<readonly PoolEvent[] | null>(null)
  const next = ref<string | null>(null)
  const busy = ref(false)
  const failure = ref('')
  /** Whether events arrived faster than the server sends them to this page. */
  const gap = ref(false)
  const { cameras, labels, learn } = useSeen()
  const full = computed(() => (rows.value?.length ?? 0) >= MAX_ROWS)
  let calls = 0

  /** Reads from `start` on; null starts with the newest. Only the last call counts. */
  async function read(start: string | null): Promise<void> {
    const call = ++calls
    busy.value = true
    failure.value = ''
    if (start === null) gap.value = false
    const known = (): readonly PoolEvent[] => (start === null ? [] : (rows.value ?? []))
    try {
      const found = await readOn(selection(), start, known, () => call === calls)
      if (found === null) return
      learn(found.events)
      next.value = found.next
      rows.value = mergeEvents(known(), [...found.events, ...fitting(newest.value ?? [], selection())])
    } catch (error) {
      if (call === calls) failure.value = error instanceof ApiError ? error.message : String(error)
    } finally {
      if (call === calls) busy.value = false
    }
  }

  watch(
    newest,
    (now, before) => {
      learn(now ?? [])
      if (now && before && leavesGap(before, now)) gap.value = true
      if (now && rows.value) rows.value = mergeEvents(rows.value, fitting(now, selection()))
    },
    { immediate: true },
  )
  watch(
    () => JSON.stringify(selection()),
    () => {
      rows.value = null
      void read(null)
    },
    { immediate: true },
  )
  // This page does not know what happened while it was not connected.
  watch(connection, (now) => {
    if (now === 'live') void read(null)
  })

  const hasOlder = computed(() => next.value !== null && !full.value)
  const reload = (): Promise<void> => read(null)
  const older = (): Promise<void> => read(next.value)
  return { rows, busy, failure, gap, cameras, labels, full, hasOlder, reload, older }
}
