/** What the pages that add and change a sink share: the form's texts, their errors, and how they are saved. */
import { ref } from 'vue'

import { sentence } from '@/cameras/store'

import { placeError, sinkBody, type SinkErrors, type SinkForm } from './form'

export function useSinkEditor(
  start: SinkForm,
  put: (name: string, body: Readonly<Record<string, unknown>>) => Promise<unknown>,
) {
  const form = ref<SinkForm>(start)
  /** By field; `''` is what belongs to none. */
  const errors = ref<SinkErrors>({})
  const busy = ref(false)

  /** Whether it was saved. */
  async function save(): Promise<boolean> {
    const made = sinkBody(form.value)
    errors.value = made.errors
    if (busy.value || Object.keys(made.errors).length) return false
    busy.value = true
    try {
      await put(form.value.name.trim(), made.body)
      return true
    } catch (error) {
      errors.value = placeError(sentence(error), form.value)
      return false
    } finally {
      busy.value = false
    }
  }
  return { form, errors, busy, save }
}
