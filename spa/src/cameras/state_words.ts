/** A camera's state in words, with a mood and the reason. Pure. */
import type { Camera, CameraState } from '@/api/types'

export type Mood = 'good' | 'warn' | 'bad' | 'idle'

export interface StateWords {
  word: string
  mood: Mood
  /** The reason, and what to do; empty if the word is enough. */
  why: string
}

export const STATE_WORDS: Record<CameraState, StateWords> = {
  live: { word: 'live', mood: 'good', why: '' },
  quiet: { word: 'quiet', mood: 'good', why: 'Nothing moves.' },
  waiting_for_key_frame: {
    word: 'waits for a key frame',
    mood: 'warn',
    why: 'Video arrives; it can be shown from the next key frame on.',
  },
  stalled: { word: 'stalled', mood: 'bad', why: 'It is connected, but sends nothing.' },
  reconnecting: { word: 'reconnecting', mood: 'bad', why: 'The connection failed; retrying.' },
  unassigned: { word: 'unassigned', mood: 'bad', why: 'No source worker has room.' },
  quarantined: {
    word: 'quarantined',
    mood: 'bad',
    why: 'Its video has crashed the decoder twice. It runs in a process of its own, with pauses.',
  },
  paused: { word: 'paused', mood: 'idle', why: '' },
}

const NOT_YET: StateWords = { word: 'starting', mood: 'idle', why: 'No source worker has reported its state yet.' }

/** The state to show: a pause shows at once, before a worker has stopped. */
export function stateOf(camera: Camera): CameraState | null {
  if (!camera.spec.enabled) return 'paused'
  // It has been resumed, but the status is still that of the pause.
  return camera.status.state === 'paused' ? null : camera.status.state
}

export function stateWords(camera: Camera): StateWords {
  const state = stateOf(camera)
  if (state === null) return NOT_YET
  const words = STATE_WORDS[state] ?? { word: state, mood: 'idle', why: '' }
  if (state === 'paused') return words
  const waits = words.mood === 'good' && camera.status.waiting_types.length > 0
  return { ...words, mood: waits ? 'warn' : words.mood, why: camera.status.reason || words.why }
}
