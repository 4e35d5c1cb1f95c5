/** What the pages that add and change a sink share: the form's texts, their errors, and how they are saved. */
import { ref } from 'vue'

import { ApiError } from '@/api/client'
import type { SinkView } from '@/api/types'
import { sentence } from '@/cameras/store'

import { formOf, placeError, sinkBody, type SinkErrors, type SinkForm } from './form'

export function useSinkEditor(
  start: SinkForm,
  put: (name: string, body: Readonly<Record<string, unknown>>, revision: string | null) => Promise<SinkView>,
) {
  const form = ref<SinkForm>(start)
  /** By field; `''` is what belongs to none. */
  const errors = ref<SinkErrors>({})
  const busy = ref(false)
  /** Of the sink that the form shows; null for a new one. */
  const revision = ref<string | null>(null)
  /** Somebody else has changed it since. */
  const conflict = ref(false)

  /** Whether it was saved. */
  async function save(): Promise<boolean> {
    const made = sinkBody(form.value)
    errors.value = made.errors
    if (busy.value || Object.keys(made.errors).length) return false
    busy.value = true
    try {
      const sink = await put(form.value.name.trim(), made.body, revision.value)
      if (revision.value !== null) revision.value = sink.revision
      conflict.value = false
      return true
    } catch (error) {
      conflict.value = error instanceof ApiError && error.status === 412
      errors.value = placeError(sentence(error), form.value)
      return false
    } finally {
      busy.value = false
    }
  }

  /** The form shows this sink. */
  function fill(sink: SinkView): void {
    form.value = formOf(sink.spec)
    revision.value = sink.revision
    errors.value = {}
    conflict.value = false
  }
  return { form, errors, busy, conflict, fill, save }
}
