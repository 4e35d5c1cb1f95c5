import { expect, test } from 'vitest'

import type { TypeStats } from '../api/types'
import { KEPT_S, PoolHistory } from './history'

const stats = (type: string, replicas = 1): TypeStats => ({
  type,
  infer_fps: 15,
  drop_fps: 0,
  scale_ratio: 0.5,
  capacity_fps: 30,
  queue_length: 0,
  replicas,
  streams: 1,
})

test('keeps one sample per second for 15 minutes', () => {
  const history = new PoolHistory(null)
  for (let second = 0; second < KEPT_S + 100; second += 1) {
    history.sample(second * 1000, [stats('people')])
    history.sample(second * 1000 + 500, [stats('people')])
  }
  expect(history.times).toHaveLength(KEPT_S + 1)
  expect(history.types.get('people')!.infer_fps).toHaveLength(KEPT_S + 1)
})

test('a type that appears later starts with a gap, one that is gone is removed', () => {
  const history = new PoolHistory(null)
  history.sample(1000, [stats('people')])
  history.sample(2000, [stats('people'), stats('car', 3)])
  expect(history.types.get('car')!.replicas).toEqual([null, 3])
  for (let second = 3; second < KEPT_S + 10; second += 1) history.sample(second * 1000, [stats('people')])
  expect([...history.types.keys()]).toEqual(['people'])
})

test('missing data and a suspended page are gaps, not zeros', () => {
  const history = new PoolHistory(null)
  history.sample(1000, [stats('people')])
  history.sample(2000, null)
  history.sample(60_000, [stats('people')])
  expect(history.times).toEqual([1, 2, 3, 60])
  expect(history.types.get('people')!.infer_fps).toEqual([15, null, null, 15])
})

test('survives a reload, and invalid data in the storage', () => {
  const kept = new Map<string, string>()
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  } as unknown as Storage
  const history = new PoolHistory(storage)
  for (let second = 1; second <= 15; second += 1) history.sample(second * 1000, [stats('people')])
  expect(new PoolHistory(storage).types.get('people')).toEqual(history.types.get('people'))
  for (const invalid of ['{', '[]', '{"times":[2,1],"types":[]}', '{"times":[1],"types":[["a",{}]]}']) {
    kept.set('ei-pool-history', invalid)
    expect(new PoolHistory(storage).times).toEqual([])
  }
})

test('the next login sees nothing of the last one', () => {
  const kept = new Map<string, string>()
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
    removeItem: (key: string) => kept.delete(key),
  } as unknown as Storage
  const history = new PoolHistory(storage)
  for (let second = 1; second <= 30; second += 1) history.sample(second * 1000, [stats('people')])
  expect(kept.size).toBe(1)
  history.clear()
  expect([history.times.length, history.types.size, kept.size]).toEqual([0, 0, 0])
  history.sample(40_000, [stats('car')])
  expect([...history.types.keys()]).toEqual(['car'])
})
