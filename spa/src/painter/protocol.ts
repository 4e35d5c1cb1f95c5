/** What the page tells the painter, and what the painter reports. Plain data: it crosses into a worker. */
import type { Mark } from './boxes'

export interface PaintOptions {
  boxes: boolean
  labels: boolean
  threshold: number
  only: string[] | null
}

export type Command =
  | { do: 'open'; tile: number; address: string; canvas: OffscreenCanvas | HTMLCanvasElement; live: boolean }
  | { do: 'close'; tile: number }
  | { do: 'size'; tile: number; width: number; height: number; ratio: number }
  /** Whether the tile may hold a websocket: in sight, not paused. */
  | { do: 'live'; tile: number; live: boolean }
  | { do: 'options'; options: PaintOptions }
  /** Tiles that show the same `seq` together; an empty list ends the group. */
  | { do: 'step'; tiles: number[]; differences: boolean }
  /** Offset of the server's clock over this one, ms. */
  | { do: 'clock'; offsetMs: number | null }
  | { do: 'snapshot'; tile: number; request: number }

export type LinkState =
  /** No websocket is wanted. */
  | 'idle'
  | 'connecting'
  | 'open'
  /** Closed, and another try comes. */
  | 'lost'
  /** The server knows no such stream (4404). */
  | 'unknown'
  /** Too many viewers (4429). */
  | 'full'

/** Mean times of the frames painted last, over half a second, ms; null where nothing says. */
export interface Latency {
  camera: number
  queue: number
  inference: number
  /** Result to paint: broker, relay, network, decoding. */
  relay: number | null
  /** Arrival at the queue to paint. */
  total: number | null
}

/** What the page shows beside a frame. Sent in the animation frame that paints it, and only where it has changed. */
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
  link: LinkState
  /** Frames painted a second. */
  fps: number
  latency: Latency | null
  /** Sums over the frames painted since the last report, by label. */
  sums: LabelCount[]
  /** Frames painted since the last report. */
  frames: number
  /** When the last frame came, Unix ms by the page's clock; null before the first. */
  lastFrameMs: number | null
  /** Messages that could not be shown since the tile was opened, by reason. */
  skipped: { malformed: number; version: number; picture: number; boxes: number }
  /** Where the frame on the tile was inferred; empty before the first. */
  device: string
  pod: string
  inStep: boolean
}

export interface PainterTotals {
  received: number
  painted: number
  /** Left out since a newer frame came before it could be decoded. */
  superseded: number
  /** Arrival at the queue to paint, ms, of the frames painted since the last report; at most 500. */
  latencies: number[]
}

export type Event =
  | { is: 'shown'; frames: ShownFrame[] }
  | { is: 'report'; tiles: TileReport[]; totals: PainterTotals }
  | { is: 'snapshot'; request: number; jpeg: Blob | null }

export type { Mark }
