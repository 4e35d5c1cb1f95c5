/**
 * The form of a sink: its texts, and the body of the request that they make. Pure.
 *
 * The server checks all values. This module finds only what cannot be sent.
 */
import type { SinkKind, SinkSpec } from '@/api/types'

/** Kinds that the API accepts; Kafka's servers name further addresses, so it must be in the file. */
export const REST_KINDS = ['webhook', 'mqtt', 'redis', 'log'] as const satisfies readonly SinkKind[]

/** A field of one kind of sink. */
export interface SinkField {
  key: string
  label: string
  hint: string
  number?: boolean
}

const secret = (key: string, label: string, what: string): SinkField => ({
  key,
  label,
  hint: `${what} Name of a file in SINK_SECRETS_DIR that begins with the sink's name and a dot.`,
})
const TIMEOUT: SinkField = { key: 'timeout_s', label: 'Time limit, seconds', hint: 'Default: 10.', number: true }
const USER: SinkField = { key: 'user', label: 'User', hint: 'Whom it logs in as.' }
const PASSWORD = secret('password', 'File of the password', '')
const TLS = [
  secret('ca_file', 'File of the authorities', 'Whom TLS trusts, if not those of the machine.'),
  secret('cert_file', 'File of our certificate', 'For a server that asks for one.'),
  secret('key_file', 'File of its key', 'Not encrypted.'),
]

export const ADDRESS: Record<SinkKind, string> = {
  webhook: 'https://example.org/events',
  mqtt: 'mqtt://broker.example:1883, also mqtts',
  redis: 'redis://redis.example:6379/0, also rediss',
  kafka: '',
  log: '',
}

/** The fields below "More settings", by kind. */
export const FIELDS: Record<SinkKind, readonly SinkField[]> = {
  webhook: [
    secret('token', 'File of the token', 'Sent as a bearer token.'),
    secret('sign', 'File of the key', 'It signs each request.'),
    secret('url_secret', 'File of the secret part', 'It takes the place of {secret} in the address.'),
    { key: 'batch', label: 'Events a request', hint: 'From 1 to 100. Default: 1.', number: true },
    TIMEOUT,
    ...TLS,
  ],
  mqtt: [
    USER,
    PASSWORD,
    { key: 'topic', label: 'Topic', hint: 'First part of all topics. Default: elastic-inference.' },
    TIMEOUT,
    ...TLS,
  ],
  redis: [
    USER,
    PASSWORD,
    { key: 'stream', label: 'Stream', hint: 'Default: events.' },
    { key: 'maxlen', label: 'Entries to keep', hint: 'Default: 100000.', number: true },
    ...TLS,
  ],
  kafka: [],
  log: [],
}

/** Which events it gets; each is a list. */
export const LISTS = ['cameras', 'types', 'labels', 'zones'] as const

export interface SinkForm {
  name: string
  kind: SinkKind
  enabled: boolean
  discovery: boolean
  kinds: string[]
  phases: string[]
  /** One line each: `07:00-18:00 Europe/Berlin`. */
  quiet: string
  /** The address, the fields of FIELDS, and LISTS with commas between. */
  texts: Record<string, string>
  /** Fields of the specification that the form does not show, such as those of a newer server: they are kept. */
  rest: Readonly<Record<string, unknown>>
}

/** Fields that the form has in another way than as a text. */
const OTHERS = ['name', 'kind', 'enabled', 'discovery', 'kinds', 'phases', 'quiet_hours']

export const emptyForm = (): SinkForm => ({
  name: '',
  kind: 'webhook',
  enabled: true,
  discovery: true,
  kinds: [],
  phases: [],
  quiet: '',
  texts: {},
  rest: {},
})

export type SinkErrors = Readonly<Record<string, string | undefined>>

export function formOf(spec: SinkSpec): SinkForm {
  const values = spec as unknown as Record<string, unknown>
  const texts: Record<string, string> = {}
  for (const key of ['url', ...FIELDS[spec.kind].map((field) => field.key)])
    texts[key] = values[key] == null ? '' : String(values[key])
  for (const key of LISTS) texts[key] = (spec[key] ?? []).join(', ')
  return {
    name: spec.name ?? '',
    kind: spec.kind,
    enabled: spec.enabled ?? true,
    discovery: spec.kind === 'mqtt' ? (spec.discovery ?? true) : true,
    kinds: [...(spec.kinds ?? [])],
    phases: [...(spec.phases ?? [])],
    quiet: (spec.quiet_hours ?? []).map(({ from, to, timezone }) => `${from}-${to} ${timezone ?? 'UTC'}`).join('\n'),
    texts,
    rest: Object.fromEntries(Object.entries(values).filter(([key]) => !(key in texts) && !OTHERS.includes(key))),
  }
}

/** The specification that the form describes, without its name; and the errors of what cannot be sent. */
export function sinkBody(form: SinkForm): { body: Record<string, unknown>; errors: SinkErrors } {
  const errors: Record<string, string> = {}
  const body: Record<string, unknown> = { ...form.rest, kind: form.kind, enabled: form.enabled }
  if (!form.name.trim()) errors.name = 'Enter a name.'
  const text = (key: string): string => form.texts[key]?.trim() ?? ''
  if (ADDRESS[form.kind]) {
    if (text('url')) body.url = text('url')
    else errors.url = 'Enter the address.'
  }
  for (const { key, number } of FIELDS[form.kind]) {
    if (!text(key)) continue
    if (number && !Number.isFinite(Number(text(key)))) errors[key] = 'Enter a number.'
    else body[key] = number ? Number(text(key)) : text(key)
  }
  if (form.kind === 'mqtt') body.discovery = form.discovery
  if (form.kinds.length) body.kinds = form.kinds
  if (form.phases.length) body.phases = form.phases
  for (const key of LISTS) {
    const values = text(key)
      .split(',')
      .map((one) => one.trim())
      .filter(Boolean)
    if (values.length) body[key] = values
  }
  const quiet = quietHours(form.quiet)
  if (typeof quiet === 'string') errors.quiet_hours = quiet
  else if (quiet.length) body.quiet_hours = quiet
  return { body, errors }
}

/** The quiet hours, or a sentence about a line that is none. */
export function quietHours(lines: string): { from: string; to: string; timezone?: string }[] | string {
  const found = []
  for (const line of lines.split('\n')) {
    if (!line.trim()) continue
    const parts = /^\s*(\d\d:\d\d)\s*[-–]\s*(\d\d:\d\d)(?:\s+(\S+))?\s*$/.exec(line)
    if (!parts) return `Write each line as 22:00-06:00 Europe/Berlin, unlike this one: ${line.trim().slice(0, 60)}`
    found.push({ from: parts[1]!, to: parts[2]!, ...(parts[3] && { timezone: parts[3] }) })
  }
  return found
}

/** The server's sentence beside its field, which it begins with; `''` is the key of what belongs to no field. */
export function placeError(message: string, form: SinkForm): Record<string, string> {
  const [, head, words] = /^([a-z_]+)[\w.]*: (.*)$/s.exec(message) ?? []
  const known = ['name', 'kind', 'quiet_hours', ...LISTS, ...FIELDS[form.kind].map(({ key }) => key)]
  if (ADDRESS[form.kind]) known.push('url')
  if (head === undefined || !known.includes(head)) return { '': message }
  return { [head]: words!.charAt(0).toUpperCase() + words!.slice(1) }
}
