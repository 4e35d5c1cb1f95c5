import { expect, test } from 'vitest'

import { toggled } from './toggled'

test('adds what is not in the list, and removes what is', () => {
  expect(toggled(['a', 'b'], 'c')).toEqual(['a', 'b', 'c'])
  expect(toggled(['a', 'b', 'c'], 'b')).toEqual(['a', 'c'])
})
