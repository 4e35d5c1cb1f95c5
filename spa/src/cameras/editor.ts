/** What the pages that add and change a camera share: the form's texts, their errors, and the check of the address. */
import { ref } from 'vue'

import { ApiError } from '@/api/client'

import { type CameraForm, EMPTY_FORM, type FieldErrors, type FieldName, placeErrors } from './form'
import { useProbe } from './probe'
import { sentence } from './store'

const PROBED: readonly FieldName[] = ['url', 'substream', 'user', 'password', 'transport', 'certificate']

export type CameraEditor = ReturnType<typeof useCameraEditor>

export function useCameraEditor() {
  const form = ref<CameraForm>({ ...EMPTY_FORM })
  const errors = ref<FieldErrors>({})
  /** The server's refusal, if it concerns no field. */
  const failure = ref('')
  const busy = ref(false)
  const { state: probe, check, reset: resetProbe } = useProbe((refused) => (errors.value = refused))

  function edited(field: FieldName): void {
    if (errors.value[field]) errors.value = { ...errors.value, [field]: undefined }
    if (PROBED.includes(field)) resetProbe()
  }

  /** Shows the errors of a form; returns whether it can be sent. */
  function valid(found: FieldErrors): boolean {
    failure.value = ''
    errors.value = found
    return Object.keys(found).length === 0
  }

  /** Shows why the server refused the form. */
  function refuse(error: unknown): void {
    const placed = placeErrors(error instanceof ApiError ? error.fields : {})
    errors.value = placed.errors
    if (!Object.keys(placed.errors).length || placed.other.length)
      failure.value = placed.other.join(' ') || sentence(error)
  }

  return { form, errors, failure, busy, probe, check, resetProbe, edited, valid, refuse }
}
