import { expect, test } from 'vitest'

import type { Stream } from '@/api/types'
import type { TileReport } from '@/painter/protocol'

import { skippedText, tileState } from './tile_state'

const stream = { id: 'a:people:inferred', name: 'a', type: 'people', state: 'live', fps: 15 } as Stream
const report = (more: Partial<TileReport> = {}): TileReport =>
  ({
    socket: 'open',
    lastFrameMs: 10_000,
    skipped: { malformed: 0, version: 0, image: 0, boxes: 0 },
    ...more,
  }) as TileReport
const state = (s: Partial<Stream>, r: TileReport | null, now: number, paused = false) =>
  tileState({ ...stream, ...s }, r, now, paused, null)

test('a stream is live while frames arrive, a slow one for three of its intervals', () => {
  expect(state({}, report(), 11_000).health).toBe('live')
  expect(state({}, report(), 12_500)).toMatchObject({ health: 'dead', text: 'no frame for 3 s' })
  expect(state({ fps: 0.2 }, report(), 24_000).health).toBe('live')
})

test.each<[Partial<Stream>, TileReport | null, string]>([
  [{}, null, 'connecting'],
  [{ state: 'waiting' }, null, 'no pods for people'],
  [{ state: 'stalled', source_fps: 0 }, report({ lastFrameMs: 0 }), 'no frames from the camera'],
  [{ state: 'stalled', source_fps: null }, report({ lastFrameMs: 0 }), 'no frame for 60 s'],
  [{ state: 'reconnecting' }, report({ lastFrameMs: 0 }), 'reconnecting to the camera'],
  [{ state: 'waiting_for_key_frame' }, report({ lastFrameMs: 0 }), 'waiting for a key frame'],
  [{}, report({ lastFrameMs: 0, socket: 'lost' }), 'connection lost, reconnecting'],
  [{}, report({ lastFrameMs: null, socket: 'unknown' }), 'stream unknown to the server'],
  [{}, report({ socket: 'full' }), 'too many viewers'],
  [
    {},
    report({ lastFrameMs: null, skipped: { malformed: 0, version: 5, image: 0, boxes: 0 } }),
    'no displayable frames received',
  ],
])('%j with %j says why', (change, given, text) => {
  expect(state(change, given, 60_000).text).toBe(text)
})

test('a refused page says why, but only while it gets nothing', () => {
  const at = (given: TileReport) => tileState(stream, given, 11_000, false, null, 'Pages of http://x are refused.')
  expect(at(report({ lastFrameMs: null, socket: 'lost' }))).toEqual({
    health: 'dead',
    text: 'the server refuses this page',
    detail: 'Pages of http://x are refused.',
  })
  expect(at(report()).health).toBe('live')
})

test('paused is not dead', () => {
  expect(state({}, report(), 60_000, true)).toMatchObject({ health: 'wait', text: 'paused' })
})

test('skipped messages are counted by reason', () => {
  expect(skippedText(report())).toBeNull()
  expect(skippedText(report({ skipped: { malformed: 1, version: 2, image: 3, boxes: 4 } }))).toEqual({
    count: 10,
    text: 'Skipped: 3 undecodable images, 2 results of another version, 1 malformed message, 4 invalid boxes',
  })
})
