/**
 * The binary result message of `?format=frame`: 4 bytes big-endian length, JSON, JPEG.
 *
 * Messages come from outside, so every field that is used is checked here, and nothing after this reads raw JSON. A
 * message that cannot be shown is refused with a reason, which the tile counts. Pure.
 */
import type { Detection, Result, Unchecked } from '../api/types'

/** A checked detection; its label is one line of at most 40 characters. */
export interface Found extends Readonly<Pick<Detection, 'label' | 'confidence'>> {
  /** Edges of the box, 0..1 of the frame, clipped to it, never empty. */
  readonly x0: number
  readonly y0: number
  readonly x1: number
  readonly y1: number
  /** Its place in the message. */
  readonly index: number
  /** The id of its object, if the event service follows it. */
  readonly track?: string | undefined
}

/** An object of a frame: its track, and the names of the zones that it is in. */
export interface KnownObject {
  readonly track: string
  readonly zones: readonly string[]
}

/** The objects of a frame, by the place of their detection. */
export interface KnownTracks {
  readonly order: number
  readonly objects: ReadonlyMap<number, KnownObject>
}

type Shown = 'order' | 'device' | 'pod' | 'seq' | 'width' | 'height' | 'age_ms' | 'queue_ms' | 'infer_ms'

/** What the painter uses of a result, checked. */
export interface FrameResult extends Readonly<Pick<Result, Shown>> {
  readonly arrived_ms: number | null
  /** Sorted by confidence, the highest last, so that it is painted on top. */
  readonly found: readonly Found[]
  /** Of this frame, and of earlier ones whose tracks were late. */
  readonly tracks: readonly KnownTracks[]
  /** Detections left out because their box or confidence is invalid. */
  readonly refused: number
}

export type SkipReason = 'malformed' | 'version' | 'image'

export type Parsed =
  { readonly result: FrameResult; readonly jpeg: Uint8Array<ArrayBuffer> } | { readonly skip: SkipReason }

export const RESULT_VERSION: Result['v'] = 1
/** The server draws at most the same number. */
export const MAX_DETECTIONS = 1000
const LABEL_LIMIT = 40
const MAX_TRACKED_FRAMES = 64
const TRACK_LIMIT = 400
const MAX_ZONES = 32
const MAX_JSON_BYTES = 1024 * 1024
const decoder = new TextDecoder()

export function parseMessage(message: ArrayBuffer): Parsed {
  if (message.byteLength < 4) return { skip: 'malformed' }
  const length = new DataView(message).getUint32(0)
  if (length > MAX_JSON_BYTES || 4 + length > message.byteLength) return { skip: 'malformed' }
  let document: unknown
  try {
    document = JSON.parse(decoder.decode(new Uint8Array(message, 4, length)))
  } catch {
    return { skip: 'malformed' }
  }
  const result = parseResult(document)
  if ('skip' in result) return result
  const jpeg = new Uint8Array(message, 4 + length)
  if (jpeg.length < 4 || jpeg[0] !== 0xff || jpeg[1] !== 0xd8) return { skip: 'image' }
  return { result, jpeg }
}

export function parseResult(document: unknown): FrameResult | { readonly skip: SkipReason } {
  if (typeof document !== 'object' || document === null) return { skip: 'malformed' }
  const fields = document as Unchecked<Result>
  if (fields.v !== RESULT_VERSION) return { skip: 'version' }
  const { order, width, height } = fields
  if (!isFinite(order) || !isFinite(width) || !isFinite(height) || width < 1 || height < 1) return { skip: 'malformed' }
  if (!Array.isArray(fields.detections)) return { skip: 'malformed' }
  const found: Found[] = []
  let refused = Math.max(0, fields.detections.length - MAX_DETECTIONS)
  for (const [index, raw] of (fields.detections.slice(0, MAX_DETECTIONS) as unknown[]).entries()) {
    const one = parseDetection(raw, index)
    if (one) found.push(one)
    else refused += 1
  }
  found.sort((a, b) => a.confidence - b.confidence)
  return {
    order,
    device: shortText(fields.device),
    pod: shortText(fields.pod),
    seq: isFinite(fields.seq) ? fields.seq : null,
    width,
    height,
    age_ms: duration(fields.age_ms),
    queue_ms: duration(fields.queue_ms),
    infer_ms: duration(fields.infer_ms),
    arrived_ms: isFinite(fields.arrived_ms) ? fields.arrived_ms : null,
    found,
    tracks: parseTracks(fields.tracks),
    refused,
  }
}

/** The tracks that can be read; the others are left out, since the frame is good without them. */
function parseTracks(raw: unknown): KnownTracks[] {
  if (!Array.isArray(raw)) return []
  const known: KnownTracks[] = []
  for (const each of raw.slice(0, MAX_TRACKED_FRAMES) as unknown[]) {
    if (typeof each !== 'object' || each === null) continue
    const { order, objects } = each as { order?: unknown; objects?: unknown }
    if (!isFinite(order) || !Array.isArray(objects)) continue
    const found = new Map<number, KnownObject>()
    for (const one of objects.slice(0, MAX_DETECTIONS) as unknown[]) {
      if (typeof one !== 'object' || one === null) continue
      const { index, track, zones } = one as { index?: unknown; track?: unknown; zones?: unknown }
      if (isFinite(index) && typeof track === 'string' && track.length <= TRACK_LIMIT)
        found.set(index, { track, zones: names(zones) })
    }
    known.push({ order, objects: found })
  }
  return known
}

const names = (raw: unknown): string[] =>
  Array.isArray(raw) ? raw.slice(0, MAX_ZONES).filter((name): name is string => typeof name === 'string') : []

function parseDetection(raw: unknown, index: number): Found | null {
  if (typeof raw !== 'object' || raw === null) return null
  const { label, confidence, box } = raw as Unchecked<Detection>
  if (!isFinite(confidence) || !Array.isArray(box) || box.length !== 4) return null
  const edges = box as unknown[]
  if (!edges.every(isFinite)) return null
  const [x0, y0, x1, y1] = edges.map((edge) => Math.min(1, Math.max(0, edge))) as [number, number, number, number]
  if (x1 <= x0 || y1 <= y0) return null
  return { label: oneLine(label), confidence: Math.min(1, Math.max(0, confidence)), x0, y0, x1, y1, index }
}

/** A label in one line of at most 40 characters, without control characters. */
export function oneLine(label: unknown): string {
  const text = typeof label === 'string' ? label : '?'
  // Cut first, so that a label of ten thousand characters costs no more than one of forty.
  const characters = Array.from(text.slice(0, 4 * LABEL_LIMIT))
  const clean = characters.map((character) =>
    /\p{C}/u.test(character) && !/\p{Cf}/u.test(character) ? '?' : character,
  )
  return clean.length > LABEL_LIMIT ? `${clean.slice(0, LABEL_LIMIT - 1).join('')}…` : clean.join('')
}

const isFinite = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)
const duration = (value: unknown): number => (isFinite(value) ? Math.max(0, value) : 0)
const shortText = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 128) : '')
