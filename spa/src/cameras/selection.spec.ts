import { expect, test } from 'vitest'

import { cameraLike } from './camera_like'
import { parseSelection, selectCameras, selectionQuery, stateCounts } from './selection'

const CAMERAS = [
  cameraLike({ name: 'gate-10', labels: { site: 'north' } }, { fps: 15.2, cost: 0.3 }),
  cameraLike({ name: 'gate-2', labels: { site: 'south' }, types: ['car'] }, { fps: 14.9, cost: 0.1 }),
  cameraLike({ name: 'hall' }, { state: 'unassigned', fps: 0, cost: 0, worker: null }),
  cameraLike({ name: 'yard', enabled: false }, { state: 'live', fps: 0 }),
]
const shown = (query: Record<string, string>): string[] =>
  selectCameras(CAMERAS, parseSelection(query)).map(({ name }) => name)

test.each<[Record<string, string>, string[]]>([
  [{}, ['gate-2', 'gate-10', 'hall', 'yard']],
  [{ q: 'GATE 10' }, ['gate-10']],
  [{ q: 'site=south' }, ['gate-2']],
  [{ q: 'car' }, ['gate-2']],
  [{ q: 'camera.example worker-1' }, ['gate-2', 'gate-10', 'yard']],
  [{ state: 'unassigned,paused' }, ['hall', 'yard']],
  [{ state: 'live' }, ['gate-2', 'gate-10']],
  [{ label: 'site=north' }, ['gate-10']],
  [{ label: 'site=west' }, []],
  [{ sort: 'state' }, ['hall', 'gate-2', 'gate-10', 'yard']],
  // 15.2 and 14.9 are the same rate: rows do not swap twice a second.
  [{ sort: '-fps' }, ['gate-2', 'gate-10', 'hall', 'yard']],
  [{ sort: '-cost' }, ['gate-10', 'gate-2', 'yard', 'hall']],
  [{ sort: '-name' }, ['yard', 'hall', 'gate-10', 'gate-2']],
  [{ sort: 'nonsense', state: 'nonsense' }, ['gate-2', 'gate-10', 'hall', 'yard']],
])('%j shows %j', (query, names) => {
  expect(shown(query)).toEqual(names)
})

test('the address holds the whole selection, and nothing at its default', () => {
  const query = { q: 'x', state: 'live,paused', label: 'site=a,b', sort: '-cost' }
  expect(selectionQuery(parseSelection(query))).toEqual(query)
  expect(selectionQuery(parseSelection({}))).toEqual({})
})

test('states are counted, those that occur', () => {
  expect(stateCounts(CAMERAS)).toEqual([
    ['live', 2],
    ['unassigned', 1],
    ['paused', 1],
  ])
})
