import { nextTick, shallowRef } from 'vue'
import { expect, test } from 'vitest'

import type { Camera } from '@/api/types'
import { cameraLike } from '@/cameras/camera_like'

import { useShapeEditor } from './editor'

const LINE = { name: 'door', from: [0.5, 0.2], to: [0.5, 0.9] }

test('a drawing is unsaved until it is as the server has it', async () => {
  const camera = shallowRef<Camera | null>(null)
  const editor = useShapeEditor(() => camera.value)
  camera.value = cameraLike({ lines: [LINE] })
  await nextTick()
  expect([editor.drawing.value.length, editor.dirty.value]).toEqual([1, false])
  editor.start('line')
  editor.pen.put([0.1, 0.1])
  editor.pen.put([0.9, 0.1])
  expect([editor.shape.value?.name, editor.dirty.value]).toEqual(['line-1', true])
  editor.undo()
  expect([editor.shape.value, editor.dirty.value]).toEqual([null, false])
})

test('what others change replaces a drawing only if nothing is unsaved', async () => {
  const camera = shallowRef<Camera | null>(cameraLike({ lines: [LINE] }))
  const editor = useShapeEditor(() => camera.value)
  camera.value = { ...cameraLike(), revision: 4 }
  await nextTick()
  expect(editor.drawing.value).toEqual([])
  editor.start('line')
  editor.pen.put([0.1, 0.1])
  editor.pen.put([0.9, 0.1])
  camera.value = { ...cameraLike({ lines: [LINE] }), revision: 5 }
  await nextTick()
  expect(editor.drawing.value.map((one) => one.name)).toEqual(['line-1'])
})
