import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { cameraLike } from './camera_like'
import { Removals, UNDO_MS } from './removals'

const one = cameraLike({ name: 'one' })
const two = cameraLike({ name: 'two' })
const send = vi.fn<(camera: typeof one) => Promise<void>>(() => Promise.resolve())
const hidden = (removals: Removals<typeof one>): string[] => [...removals.pending.value.keys()]

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  send.mockClear()
})

test('the request is sent after a while, once', async () => {
  const removals = new Removals(send)
  removals.remove(one)
  removals.remove(one)
  await vi.advanceTimersByTimeAsync(UNDO_MS - 1)
  expect(send).not.toHaveBeenCalled()
  expect(hidden(removals)).toEqual(['one'])
  await vi.advanceTimersByTimeAsync(1)
  removals.flush()
  await vi.advanceTimersByTimeAsync(2 * UNDO_MS)
  expect(send.mock.calls).toEqual([[one]])
  expect(hidden(removals)).toEqual([])
})

test('an undo cancels it, and only it', async () => {
  const removals = new Removals(send)
  removals.remove(one)
  removals.remove(two)
  expect(removals.undo('one')).toBe(true)
  expect(hidden(removals)).toEqual(['two'])
  await vi.advanceTimersByTimeAsync(UNDO_MS)
  expect(send.mock.calls).toEqual([[two]])
  expect(removals.undo('two')).toBe(false)
})

test('leaving the page sends all at once', () => {
  const removals = new Removals(send)
  removals.remove(one)
  removals.remove(two)
  removals.flush()
  expect(send.mock.calls).toEqual([[one], [two]])
})

test('a camera stays hidden until the server has answered', async () => {
  let answer = (): void => {}
  const removals = new Removals<typeof one>(() => new Promise((resolve) => (answer = resolve)))
  removals.remove(one)
  await vi.advanceTimersByTimeAsync(UNDO_MS)
  expect(hidden(removals)).toEqual(['one'])
  expect(removals.canUndo('one')).toBe(false)
  answer()
  await vi.advanceTimersByTimeAsync(0)
  expect(hidden(removals)).toEqual([])
})
