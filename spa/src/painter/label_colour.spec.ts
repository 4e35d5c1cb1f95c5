import { expect, test } from 'vitest'

import { labelColour, labelHash, PALETTE, wantsDarkText } from './label_colour'

// The expected values are those of elastic_inference.adapters.drawing.label_hash and label_colour in Python.
test.each([
  ['', 0x811c9dc5],
  ['a', 0xe40c292c],
  ['foobar', 0xbf9cf968],
])('the hash of %j is FNV-1a', (label, hash) => {
  expect(labelHash(label)).toBe(hash)
})

test('a label keeps its colour, whatever came before', () => {
  const first = labelColour('person')
  for (let index = 0; index < 5000; index += 1) labelColour(`label ${index}`)
  expect(labelColour('person')).toBe(first)
  expect(PALETTE).toContain(labelColour('🚲'))
})

test('text on a plate is dark on light colours', () => {
  expect(wantsDarkText('#F0E442')).toBe(true)
  expect(wantsDarkText('#0072B2')).toBe(false)
})
