import { expect, test } from 'vitest'

import { eventLike } from './event_like'
import { ALL, eventQuery, fits, parseEventSelection } from './selection'

test('the address keeps the selection; what is invalid counts as none', () => {
  const query = { camera: 'gate-1', kind: 'zone', label: 'person' }
  expect(parseEventSelection(query)).toEqual(query)
  expect(eventQuery(parseEventSelection(query))).toEqual(query)
  expect(parseEventSelection({ camera: ['gate-1', 'x'], kind: 'nonsense', label: '' })).toEqual({
    ...ALL,
    camera: 'gate-1',
  })
  expect(eventQuery(ALL)).toEqual({})
})

test('an event fits if everything that is chosen does', () => {
  const event = eventLike({ kind: 'zone', zone: 'till' })
  expect(fits(event, ALL)).toBe(true)
  expect(fits(event, { camera: 'gate-1', kind: 'zone', label: 'person' })).toBe(true)
  expect(fits(event, { ...ALL, camera: 'gate-2' })).toBe(false)
  expect(fits(event, { ...ALL, kind: 'line' })).toBe(false)
  expect(fits(event, { ...ALL, label: 'car' })).toBe(false)
})
