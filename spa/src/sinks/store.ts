/** The sinks as the pages show them, asked for every few seconds while one of them is open and visible. */
import { computed, onBeforeUnmount, onMounted, ref, shallowRef } from 'vue'

import { ApiError } from '@/api/client'
import { listSinks, putSink, removeSink } from '@/api/sinks'
import type { Sinks, SinkView } from '@/api/types'
import { type Named, Removals } from '@/cameras/removals'
import { sentence } from '@/cameras/store'
import { pageVisible } from '@/composables/page_visible'

const POLL_MS = 2000

/** Null before the first answer. */
const sinks = shallowRef<readonly SinkView[] | null>(null)
/** What is wrong with all of them, as a sentence of the server. */
const problem = ref<string | null>(null)
/** What went wrong with one of them, until it is closed. */
const failure = ref('')
let watchers = 0
let timer: ReturnType<typeof setTimeout> | undefined
/** Counts our own changes, than which an answer may be older. */
let news = 0

export const nameOf = (sink: SinkView): string => sink.spec.name ?? ''

const removals = new Removals<Named>(async ({ name }) => {
  try {
    await removeSink(name)
    drop(name)
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) drop(name)
    else failure.value = `${name} was not removed: ${sentence(error)}`
  }
})

function drop(name: string): void {
  news += 1
  sinks.value = sinks.value?.filter((sink) => nameOf(sink) !== name) ?? null
}

function take(answer: Sinks): void {
  sinks.value = answer.sinks
  problem.value = answer.problem
}

async function poll(): Promise<void> {
  clearTimeout(timer)
  const before = news
  if (pageVisible.value || sinks.value === null)
    try {
      const answer = await listSinks()
      if (news === before) take(answer)
    } catch (error) {
      problem.value = sentence(error)
    }
  clearTimeout(timer)
  if (watchers > 0) timer = setTimeout(() => void poll(), POLL_MS)
}

const shown = computed(() => sinks.value?.filter((sink) => !removals.pending.value.has(nameOf(sink))) ?? null)

/** Keeps the list fresh while the component that calls this is mounted. `allowed`: whether the login may see it. */
export function useSinks(allowed: boolean) {
  onMounted(() => {
    watchers += 1
    if (allowed) void poll()
  })
  onBeforeUnmount(() => {
    watchers -= 1
    if (watchers === 0) clearTimeout(timer)
  })
  return {
    /** Without those that are being removed. */
    sinks: shown,
    problem,
    failure,
    removals,
    /** What the server has now; null if it is gone. */
    async fresh(name: string): Promise<SinkView | null> {
      const answer = await listSinks()
      news += 1
      take(answer)
      return answer.sinks.find((one) => nameOf(one) === name) ?? null
    },
    /** Adds or replaces it; with a revision, only if it is still that one. */
    async put(
      name: string,
      body: Readonly<Record<string, unknown>>,
      revision: string | null = null,
    ): Promise<SinkView> {
      const sink = await putSink(name, body, revision)
      news += 1
      const others = (sinks.value ?? []).filter((one) => nameOf(one) !== name)
      sinks.value = [...others, sink].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
      return sink
    },
  }
}
