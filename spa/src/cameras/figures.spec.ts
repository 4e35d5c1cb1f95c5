import { expect, test } from 'vitest'

import { age, coreShare } from './figures'
import { keepUnchanged } from './store'
import { cameraLike } from './camera_like'
import { Turns } from './snapshot_turns'

test('ages are by the clock of the server', () => {
  const localMs = (serverS: number): number => serverS * 1000 - 5000
  expect(age(65_000, localMs, 61_000).text).toBe('just now')
  expect(age(65_000, localMs, 90_000).text).toBe('30 s ago')
  expect(age(null, localMs, 90_000).text).toBe('no frame')
})

test('a cost is a share of one core', () => {
  expect([0, 0.004, 0.123, 1.5, Number.NaN].map(coreShare)).toEqual(['–', 'under 1 %', '12 %', '150 %', '–'])
})

test('a camera that did not change stays the same object', () => {
  const [a, b] = [cameraLike({ name: 'a' }), cameraLike({ name: 'b' })]
  const next = keepUnchanged([a, b], [cameraLike({ name: 'b' }, { fps: 3 }), cameraLike({ name: 'a' })])
  expect(next[1]).toBe(a)
  expect(next[0]).not.toBe(b)
  expect(next.map(({ name }) => name)).toEqual(['b', 'a'])
})

test('snapshots are fetched a few at a time, and a row that leaves gives its turn away', () => {
  const turns = new Turns(2)
  const started: string[] = []
  const end = ['a', 'b', 'c', 'd'].map((name) => turns.take(() => started.push(name)))
  expect(started).toEqual(['a', 'b'])
  end[2]!()
  end[0]!()
  end[0]!()
  expect(started).toEqual(['a', 'b', 'd'])
})
