import { describe, expect, test } from 'vitest'

import { oneLine, parseMessage, parseResult } from './result_message'

const good = {
  v: 1,
  stream: 'gate-1:people:inferred',
  type: 'people',
  model: 'm',
  precision: 'INT8',
  device: 'CPU',
  order: 7,
  seq: 3,
  ts: 1,
  width: 768,
  height: 432,
  pod: 'p',
  age_ms: 8,
  queue_ms: 3,
  infer_ms: 12,
  arrived_ms: 1000,
  detections: [{ label: 'person', label_id: 1, confidence: 0.9, box: [0.1, 0.2, 0.3, 0.4] }],
}
const JPEG = [0xff, 0xd8, 0xff, 0xd9]

function message(
  document: string,
  image: number[] = JPEG,
  length = new TextEncoder().encode(document).length,
): ArrayBuffer {
  const json = new TextEncoder().encode(document)
  const bytes = new Uint8Array(4 + json.length + image.length)
  new DataView(bytes.buffer).setUint32(0, length)
  bytes.set(json, 4)
  bytes.set(image, 4 + json.length)
  return bytes.buffer
}

const withDetections = (detections: unknown) => parseResult({ ...good, detections })

test('a valid message is split into its result and its image', () => {
  const parsed = parseMessage(message(JSON.stringify(good)))
  if ('skip' in parsed) throw new Error(parsed.skip)
  expect(parsed.result).toMatchObject({ seq: 3, width: 768, queue_ms: 3, arrived_ms: 1000, refused: 0 })
  expect(parsed.result.found).toEqual([
    { label: 'person', confidence: 0.9, x0: 0.1, y0: 0.2, x1: 0.3, y1: 0.4, index: 0 },
  ])
  expect([...parsed.jpeg]).toEqual(JPEG)
})

describe('a message that is not a result is refused with the reason', () => {
  test.each([
    ['nothing', new ArrayBuffer(0), 'malformed'],
    ['three bytes', new ArrayBuffer(3), 'malformed'],
    ['a length over the end', message('{}', JPEG, 1000), 'malformed'],
    ['a length of 4 GB', message('{}', JPEG, 0xffffffff), 'malformed'],
    ['no JSON', message('{'), 'malformed'],
    ['a list', message('[]'), 'version'],
    ['null', message('null'), 'malformed'],
    ['another version', message(JSON.stringify({ ...good, v: 2 })), 'version'],
    ['no detections', message(JSON.stringify({ ...good, detections: undefined })), 'malformed'],
    ['no size', message(JSON.stringify({ ...good, width: 0 })), 'malformed'],
    ['no image', message(JSON.stringify(good), []), 'image'],
    ['an image that is none', message(JSON.stringify(good), [1, 2, 3, 4, 5]), 'image'],
  ])('%s', (_name, data, skip) => {
    expect(parseMessage(data)).toEqual({ skip })
  })
})

test('boxes are clipped to the frame, invalid ones are counted', () => {
  const result = withDetections([
    { label: 'a', confidence: 0.5, box: [-1, -1, 2, 2] },
    { label: 'b', confidence: 0.5, box: [1.5, 0, 2, 1] },
    { label: 'c', confidence: 0.5, box: [0.5, 0.5, 0.2, 0.6] },
    { label: 'd', confidence: null, box: [0, 0, 1, 1] },
    { label: 'e', confidence: 0.5, box: [0, 0, 1] },
    { label: 'f', confidence: 7, box: [0, 0, 1, 1] },
    'nothing',
    null,
  ])
  if ('skip' in result) throw new Error(result.skip)
  expect(result.found.map((one) => [one.label, one.confidence, one.x0, one.y0, one.x1, one.y1])).toEqual([
    ['a', 0.5, 0, 0, 1, 1],
    ['f', 1, 0, 0, 1, 1],
  ])
  expect(result.refused).toBe(6)
})

test('five thousand detections are cut to a thousand, the rest is counted', () => {
  const result = withDetections(Array.from({ length: 5000 }, () => good.detections[0]))
  if ('skip' in result) throw new Error(result.skip)
  expect(result.found).toHaveLength(1000)
  expect(result.refused).toBe(4000)
})

test.each([
  ['person', 'person'],
  ['a\nb\u0000c', 'a?b?c'],
  ['👨‍👩‍👧 family', '👨‍👩‍👧 family'],
  ['<script>alert(1)</script>', '<script>alert(1)</script>'],
  ['x'.repeat(10_000), `${'x'.repeat(39)}…`],
  [undefined, '?'],
  [{}, '?'],
])('the label %j is one short line', (label, expected) => {
  expect(oneLine(label)).toBe(expected)
})
