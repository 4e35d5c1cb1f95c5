/** What a sink is and how it is, in words. Pure. */
import type { SinkKind, SinkSpec, SinkView } from '@/api/types'
import type { StateWords } from '@/cameras/state_words'
import { KIND_WORDS as EVENT_WORDS } from '@/events/words'
import { duration } from '@/format'

export const SINK_WORDS: Record<SinkKind, string> = {
  webhook: 'Webhook',
  mqtt: 'MQTT',
  kafka: 'Kafka',
  redis: 'Redis',
  log: 'Log',
}

type Condition = SinkView['state']['condition']
const CONDITIONS: Record<Condition, StateWords> = {
  starting: { word: 'starting', mood: 'idle', why: '' },
  delivering: { word: 'delivering', mood: 'good', why: '' },
  failing: { word: 'failing', mood: 'bad', why: 'An attempt failed; retrying.' },
  paused: { word: 'paused', mood: 'bad', why: 'It refuses our login; retrying every minute.' },
  disabled: { word: 'switched off', mood: 'idle', why: 'It keeps its position for as long as events are kept.' },
  unassigned: { word: 'waiting', mood: 'warn', why: 'No event worker has taken it yet.' },
}

export function conditionWords({ state }: Pick<SinkView, 'state'>): StateWords {
  // A newer server may know more.
  const words = CONDITIONS[state.condition] ?? { word: state.condition, mood: 'idle', why: '' }
  const why = state.reason ?? ''
  return why ? { ...words, why: why.charAt(0).toUpperCase() + why.slice(1) } : words
}

/** Where its events go: without path and query of an address, which may hold a secret. */
export function placeWords(spec: SinkSpec): string {
  switch (spec.kind) {
    case 'webhook':
      return hostOf(spec.url)
    case 'mqtt':
      return `${hostOf(spec.url)}, topic ${spec.topic}`
    case 'kafka':
      return `${spec.brokers.join(', ')}, topic ${spec.topic}`
    case 'redis':
      return `${hostOf(spec.url)}, stream ${spec.stream}`
    case 'log':
      return 'the log of the event service'
  }
}

const hostOf = (url: string): string => /^[a-z]+:\/\/[^/?#]*/i.exec(url)?.[0] ?? ''

/** Which events it gets. */
export function filterWords(spec: SinkSpec): string {
  const only: [string, readonly string[]][] = [
    ['kinds', (spec.kinds ?? []).map((kind) => EVENT_WORDS[kind] ?? kind)],
    ['phases', spec.phases ?? []],
    ['cameras', spec.cameras ?? []],
    ['types', spec.types ?? []],
    ['labels', spec.labels ?? []],
    ['zones and lines', spec.zones ?? []],
  ]
  const parts = only.filter(([, values]) => values.length).map(([word, values]) => `${word}: ${values.join(', ')}`)
  const quiet = (spec.quiet_hours ?? []).map(({ from, to, timezone }) => `${from} to ${to} (${timezone ?? 'UTC'})`)
  if (quiet.length) parts.push(`not from ${quiet.join(', ')}`)
  return parts.length ? parts.join('; ') : 'all events'
}

/** The age of the oldest event that it has not confirmed. */
export const lagWords = ({ state }: Pick<SinkView, 'state'>): string =>
  state.condition === 'disabled' || state.condition === 'unassigned'
    ? '–'
    : state.lag_s < 1
      ? 'none'
      : duration(state.lag_s)
