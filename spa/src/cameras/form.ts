/**
 * The form of a camera: its texts, and the bodies of the requests that they make. Pure.
 *
 * The server checks all values. This module finds only what cannot be sent: text instead of a number, or a label
 * without a value.
 */
import type { CameraBody } from '@/api/cameras'
import type { Camera, CameraSpec } from '@/api/types'

export interface CameraForm {
  name: string
  url: string
  user: string
  password: string
  /** Whether the stored login should be removed. */
  forgetLogin: boolean
  loginSecret: string
  types: string[]
  fps: string
  width: string
  height: string
  quality: string
  size: string
  gate: string
  transport: string
  substream: string
  certificate: string
  /** One `key=value` per line. */
  labels: string
}

export type FieldName = keyof CameraForm
export type FieldErrors = Partial<Record<FieldName, string>>

export interface Made {
  body: CameraBody
  errors: FieldErrors
}

export const EMPTY_FORM: CameraForm = {
  name: '',
  url: '',
  user: '',
  password: '',
  forgetLogin: false,
  loginSecret: '',
  types: [],
  fps: '',
  width: '',
  height: '',
  quality: '',
  size: '',
  gate: '',
  transport: 'auto',
  substream: '',
  certificate: '',
  labels: '',
}

/** Fields below "More settings". */
export const ADVANCED: readonly FieldName[] = [
  'loginSecret',
  'fps',
  'width',
  'height',
  'quality',
  'size',
  'gate',
  'transport',
  'substream',
  'certificate',
  'labels',
]

const text = (value: unknown): string => (value == null ? '' : String(value))

export function formOf({ spec }: { spec: CameraSpec }): CameraForm {
  return {
    ...EMPTY_FORM,
    name: spec.name,
    url: spec.url,
    loginSecret: text(spec.login_secret),
    types: [...spec.types],
    fps: text(spec.fps),
    width: text(spec.width),
    height: text(spec.height),
    quality: text(spec.quality),
    size: text(spec.size),
    gate: text(spec.gate),
    transport: text(spec.transport) || 'auto',
    substream: text(spec.substream),
    certificate: text(spec.certificate),
    labels: Object.entries(spec.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join('\n'),
  }
}

/** The specification that the form describes, without empty fields; and the errors of fields that cannot be sent. */
function specOf(form: CameraForm): Made {
  const errors: FieldErrors = {}
  const body: Record<string, unknown> = {}
  const texts: [FieldName, string][] = [
    ['name', 'name'],
    ['url', 'url'],
    ['loginSecret', 'login_secret'],
    ['size', 'size'],
    ['gate', 'gate'],
    ['transport', 'transport'],
    ['substream', 'substream'],
    ['certificate', 'certificate'],
  ]
  for (const [field, key] of texts) {
    const value = (form[field] as string).trim()
    if (value) body[key] = value
  }
  for (const field of ['fps', 'width', 'height', 'quality'] as const) {
    const value = form[field].trim()
    if (!value) continue
    const number = Number(value)
    if (!Number.isFinite(number)) errors[field] = 'Enter a number.'
    else if (field !== 'fps' && !Number.isInteger(number)) errors[field] = 'Enter a whole number.'
    else body[field] = number
  }
  body.types = form.types
  const labels = parseLabels(form.labels)
  if (typeof labels === 'string') errors.labels = labels
  else body.labels = labels
  if (!form.name.trim()) errors.name = 'Enter a name.'
  if (!form.url.trim()) errors.url = "Enter the camera's address."
  if (!form.types.length) errors.types = 'Choose at least one type.'
  return { body, errors }
}

/** The labels by key, or a sentence about an invalid line. */
export function parseLabels(lines: string): Record<string, string> | string {
  const labels: Record<string, string> = {}
  for (const line of lines.split('\n')) {
    if (!line.trim()) continue
    const at = line.indexOf('=')
    const key = line.slice(0, at).trim()
    if (at < 0 || !key) return `Write each label as key=value, unlike this one: ${line.trim().slice(0, 60)}`
    if (key in labels) return `The label ${key} appears twice.`
    labels[key] = line.slice(at + 1).trim()
  }
  return labels
}

/** The content of the login fields; null if both are empty. */
function loginOf(form: CameraForm): CameraBody | null {
  return form.user.trim() || form.password ? { user: form.user.trim(), password: form.password } : null
}

/** The body of a new camera. */
export function newCamera(form: CameraForm): Made {
  const { body, errors } = specOf(form)
  const login = loginOf(form)
  return { body: login ? { ...body, login } : body, errors }
}

/** The body of a change (a JSON merge patch): only what differs from the camera; null removes. */
export function changedCamera(form: CameraForm, camera: Camera): Made {
  const { body, errors } = specOf(form)
  const before = specOf(formOf(camera)).body
  const patch: Record<string, unknown> = {}
  for (const key of new Set([...Object.keys(before), ...Object.keys(body)])) {
    if (JSON.stringify(before[key]) !== JSON.stringify(body[key])) patch[key] = body[key] ?? null
  }
  for (const field of ['fps', 'quality'] as const) {
    // The server has defaults for them, and does not accept null.
    if (patch[field] === null) errors[field] = 'Enter a number.'
  }
  if (patch.labels) {
    const [old, now] = [before.labels, patch.labels] as [Record<string, string>, Record<string, string>]
    const gone = Object.keys(old).filter((key) => !(key in now))
    const fresh = Object.entries(now).filter(([key, value]) => old[key] !== value)
    patch.labels = Object.fromEntries([...fresh, ...gone.map((key) => [key, null])])
  }
  const login = loginOf(form)
  if (login) patch.login = login
  else if (form.forgetLogin) patch.login = null
  return { body: patch, errors }
}

/** The body of a probe. `name` is that of the camera that is being changed: its stored login is used. */
export function probeBody(form: CameraForm, name: string | null, address: 'url' | 'substream' = 'url'): CameraBody {
  const login = loginOf(form)
  const certificate = form.certificate.trim()
  return {
    url: form[address].trim(),
    transport: form.transport,
    ...(login && { login }),
    ...(certificate && { certificate }),
    ...(name !== null && !form.forgetLogin && { name }),
  }
}

const SERVER_FIELDS: Record<string, FieldName> = {
  login: 'user',
  login_secret: 'loginSecret',
  'login.user': 'user',
  'login.password': 'password',
}

/** The server's errors by field of the form; `other` are errors that belong to no field. */
export function placeErrors(fields: Readonly<Record<string, string>>): { errors: FieldErrors; other: string[] } {
  const errors: FieldErrors = {}
  const other: string[] = []
  for (const [path, words] of Object.entries(fields)) {
    const sentence = words.charAt(0).toUpperCase() + words.slice(1)
    const head = path.split('.')[0]!
    const field = SERVER_FIELDS[path] ?? SERVER_FIELDS[head] ?? head
    if (!(field in EMPTY_FORM)) other.push(path ? `${path}: ${sentence}` : sentence)
    else {
      const name = field as FieldName
      errors[name] = errors[name] ? `${errors[name]} ${sentence}` : sentence
    }
  }
  return { errors, other }
}

/** Takes user and password out of an address that was pasted with them; null if it has none. */
export function splitLogin(url: string): { url: string; user: string; password: string } | null {
  const found = /^([a-z][a-z0-9+.-]*:\/\/)([^/?#@]*)@(?=[^/?#@])/i.exec(url.trim())
  if (!found) return null
  const [user = '', ...rest] = found[2]!.split(':')
  return {
    url: found[1]! + url.trim().slice(found[0].length),
    user: decoded(user),
    password: decoded(rest.join(':')),
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part // a literal percent sign
  }
}
