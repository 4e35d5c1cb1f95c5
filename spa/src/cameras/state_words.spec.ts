import { expect, test } from 'vitest'

import { cameraLike } from './camera_like'
import { stateWords } from './state_words'

test.each([
  [{ state: 'live' }, 'live', 'good', ''],
  [{ state: 'live', reason: "The substream can't be used." }, 'live', 'good', "The substream can't be used."],
  [{ state: 'quiet' }, 'quiet', 'good', 'Nothing moves.'],
  [{ state: 'waiting_for_key_frame' }, 'waits for a key frame', 'warn', 'Video arrives'],
  [{ state: 'unassigned', reason: 'No worker runs.' }, 'unassigned', 'bad', 'No worker runs.'],
  [{ state: 'unassigned' }, 'unassigned', 'bad', 'No source worker has room.'],
  [{ state: 'quarantined' }, 'quarantined', 'bad', 'Its video has crashed the decoder twice.'],
  [
    { state: 'reconnecting', reason: 'The camera refuses the connection.' },
    'reconnecting',
    'bad',
    'The camera refuses',
  ],
  [{ state: 'stalled' }, 'stalled', 'bad', 'It is connected, but sends nothing.'],
] as const)('%j is told in words', (status, word, mood, why) => {
  const words = stateWords(cameraLike({}, status))
  expect(words).toMatchObject({ word, mood })
  expect(words.why).toContain(why)
  if (!why) expect(words.why).toBe('')
})

test('a live camera whose frames wait for a pod is no longer all right', () => {
  const reason = 'No inference pod serves the type car now: its frames wait for one.'
  expect(stateWords(cameraLike({}, { state: 'live', waiting_types: ['car'], reason }))).toEqual({
    word: 'live',
    mood: 'warn',
    why: reason,
  })
})

test('a pause shows at once, and its end too', () => {
  expect(stateWords(cameraLike({ enabled: false }, { state: 'live' }))).toMatchObject({ word: 'paused', why: '' })
  expect(stateWords(cameraLike({}, { state: 'paused' })).word).toBe('starting')
})

test('a state of a newer server shows its own name', () => {
  expect(stateWords(cameraLike({}, { state: 'dreaming' as 'live', reason: 'It sleeps.' }))).toMatchObject({
    word: 'dreaming',
    mood: 'idle',
    why: 'It sleeps.',
  })
})
