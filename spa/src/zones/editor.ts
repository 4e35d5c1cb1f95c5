/** The editor of a camera's zones and lines: the drawing, what is chosen in it, and what can be undone. */
import { computed, ref, watch } from 'vue'

import { ApiError } from '@/api/client'
import type { Camera } from '@/api/types'
import { sentence, useCameras } from '@/cameras/store'

import { type History, useHistory } from './history'
import { usePen } from './pen'
import {
  added,
  bodyOf,
  changed,
  type Drawing,
  drawingOf,
  type Kind,
  mistakes,
  pointAdded,
  pointMoved,
  pointRemoved,
  removed,
  type Shape,
  type XY,
} from './shapes'

const OUTDATED = 'Somebody has changed this camera in the meantime. Load the page again; your drawing is not saved.'
const same = (a: Drawing, b: Drawing): boolean => JSON.stringify(bodyOf(a)) === JSON.stringify(bodyOf(b))

/** The changes of a drawing, each of which can be undone. */
function changesOf(history: History<Drawing>, put: (next: Drawing, together?: string) => void) {
  const { now, undo, redo, canUndo, canRedo } = history
  return {
    ...{ undo, redo, canUndo, canRedo, drawing: now },
    edit: (key: number, what: Partial<Shape>, together: string) =>
      put(changed(now.value, key, what), `${together} ${key}`),
    move: (key: number, index: number, to: XY, together: string) =>
      put(pointMoved(now.value, key, index, to), together),
    split: (key: number, index: number) => put(pointAdded(now.value, key, index)),
    cut: (key: number, index: number) => put(pointRemoved(now.value, key, index)),
    remove: (key: number) => put(removed(now.value, key)),
  }
}

/** The server's side: loads a camera when it changes, and saves the drawing. */
function keeperOf(camera: () => Camera | null, history: History<Drawing>, loaded: () => void) {
  const { change } = useCameras()
  const base = ref<{ revision: number; drawing: Drawing } | null>(null)
  const busy = ref(false)
  const failure = ref('')
  const saved = ref(false)
  const dirty = computed(() => base.value !== null && !same(base.value.drawing, history.now.value))

  watch(
    camera,
    (now) => {
      if (!now || busy.value || base.value?.revision === now.revision) return
      const drawing = drawingOf(now.spec)
      if (base.value === null || !dirty.value) {
        // If something else of the camera changed, the steps that can be undone stay.
        const news = base.value === null || !same(drawing, base.value.drawing)
        base.value = { revision: now.revision, drawing: news ? drawing : base.value!.drawing }
        if (news) history.reset(drawing)
        if (news) loaded()
      } else if (same(drawing, base.value.drawing)) base.value.revision = now.revision
    },
    { immediate: true },
  )

  async function save(): Promise<void> {
    if (!base.value) return
    busy.value = true
    failure.value = ''
    const drawing = history.now.value
    try {
      const made = await change(camera()!.name, { ...bodyOf(drawing) }, base.value.revision)
      base.value = { revision: made.revision, drawing }
      saved.value = true
    } catch (error) {
      const isOld = error instanceof ApiError && error.status === 412
      failure.value = isOld ? OUTDATED : sentence(error)
    } finally {
      busy.value = false
    }
  }

  return { busy, failure, saved, dirty, save }
}

/** `camera`: as the server has it now; null while it is unknown. */
export function useShapeEditor(camera: () => Camera | null) {
  const history = useHistory<Drawing>([])
  const chosen = ref<number | null>(null)
  const pen = usePen((kind, points) => {
    const { drawing, shape } = added(history.now.value, kind, points)
    put(drawing)
    chosen.value = shape.key
  })
  const keeper = keeperOf(camera, history, () => {
    chosen.value = null
    pen.stop()
  })

  function put(next: Drawing, together?: string): void {
    keeper.saved.value = false
    keeper.failure.value = ''
    history.put(next, together)
  }

  return {
    ...{ pen, chosen },
    ...keeper,
    ...changesOf(history, put),
    mistakes: computed(() => mistakes(history.now.value)),
    shape: computed((): Shape | null => history.now.value.find((one) => one.key === chosen.value) ?? null),
    start(kind: Kind): void {
      chosen.value = null
      pen.start(kind)
    },
    choose(key: number): void {
      if (pen.kind.value === null) chosen.value = key
    },
  }
}
