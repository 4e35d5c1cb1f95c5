/** Messages between the page and the painter. They cross into a worker, so they are data alone. */
import type { Mark } from './boxes'
import type { PaintedShape } from './shapes'

export interface PaintOptions {
  boxes: boolean
  labels: boolean
  trails: boolean
  zones: boolean
  threshold: number
  only: string[] | null
}

export type Command =
  | { do: 'open'; tile: number; address: string; canvas: OffscreenCanvas | HTMLCanvasElement; live: boolean }
  | { do: 'close'; tile: number }
  | { do: 'size'; tile: number; width: number; height: number; ratio: number }
  /** Whether the tile may hold a websocket: visible and not paused. */
  | { do: 'live'; tile: number; live: boolean }
  /** The zones and lines of its camera. */
  | { do: 'shapes'; tile: number; shapes: readonly PaintedShape[] }
  | { do: 'options'; options: PaintOptions }
  /** Tiles that show the same `seq` together; an empty list ends the group. */
  | { do: 'step'; tiles: number[]; differences: boolean }
  /** The server's clock minus the local one, ms. */
  | { do: 'clock'; offsetMs: number | null }
  | { do: 'snapshot'; tile: number; request: number }

export type SocketState =
  /** No websocket is needed. */
  | 'idle'
  | 'connecting'
  | 'open'
  /** Closed; it will be opened again. */
  | 'lost'
  /** The server has no such stream (4404). */
  | 'unknown'
  /** Too many viewers (4429). */
  | 'full'

/** Mean times of the frames painted in the last half second, ms; null if unknown. */
export interface Latency {
  camera: number
  queue: number
  inference: number
  /** From the result to the paint: broker, relay, network, decoding. */
  relay: number | null
  /** From arrival at the queue to the paint. */
  total: number | null
}

/** What the page shows beside a frame. Sent in the animation frame that paints it, and only if it has changed. */
export interface ShownFrame {
  tile: number
  /** Whether this is the tile's first frame. */
  first: boolean
  /** Detections that pass the filters, by label, the most frequent first. */
  counts: LabelCount[]
  /** In the compare view, boxes that the other stream does not have; null outside of it. */
  onlyHere: number | null
}

/** Detections with this label. */
export type LabelCount = readonly [label: string, count: number]

export interface TileReport {
  tile: number
  socket: SocketState
  /** Frames painted per second. */
  fps: number
  latency: Latency | null
  /** Sums over the frames painted since the last report, by label. */
  sums: LabelCount[]
  /** Frames painted since the last report. */
  frames: number
  /** When the last frame arrived, Unix ms by the page's clock; null before the first. */
  lastFrameMs: number | null
  /** Messages that could not be shown since the tile was opened, by reason. */
  skipped: { malformed: number; version: number; image: number; boxes: number }
  /** Where the frame on the tile was inferred; empty before the first. */
  device: string
  pod: string
  inStep: boolean
}

export interface PainterTotals {
  received: number
  painted: number
  /** Frames that a newer one replaced before they were painted. */
  superseded: number
  /** From arrival at the queue to the paint, ms, of the frames painted since the last report; at most 500. */
  latencies: number[]
}

export type Event =
  | { is: 'shown'; frames: ShownFrame[] }
  | { is: 'report'; tiles: TileReport[]; totals: PainterTotals }
  | { is: 'snapshot'; request: number; jpeg: Blob | null }

export type { Mark }
