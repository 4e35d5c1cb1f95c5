/** Short names for the gateway's types, which `npm run types` generates from its OpenAPI document. */
import type { components } from './schema'

type Schemas = components['schemas']
export type Stream = Schemas['Stream']
export type Streams = Schemas['Streams']
export type Stats = Schemas['Stats']
export type TypeStats = Schemas['TypeStats']
export type TotalStats = Schemas['TotalStats']
export type Worker = Schemas['Worker']
export type Session = Schemas['Session']
export type ApiErrorBody = Schemas['Error']
export type Detection = Schemas['Detection']
export type Result = Schemas['Result']
export type HelloEvent = Schemas['HelloEvent']
export type TimeEvent = Schemas['TimeEvent']
export type StreamsEvent = Schemas['StreamsEvent']
export type StatsEvent = Schemas['StatsEvent']
export type ProblemEvent = Schemas['ProblemEvent']
/** Something that happened in front of a camera; `Event` is the browser's. */
export type PoolEvent = Schemas['Event']
export type EventKind = Schemas['EventKind']
export type EventPage = Schemas['EventPage']
/** Where events are delivered to, with its state. */
export type SinkView = Omit<Schemas['SinkView'], 'state'> & { state: Required<Schemas['SinkState']> }
export type Sinks = Omit<Schemas['Sinks'], 'sinks'> & { sinks: SinkView[] }
export type SinkSpec = SinkView['spec']
export type SinkKind = SinkSpec['kind']
export type SinkTest = Schemas['SinkTest']
export type DeadLetter = Schemas['DeadLetter']
export type DeadLetters = Schemas['DeadLetters']
export type DeadRemoved = Schemas['DeadRemoved']
export type Resent = Schemas['Resent']
export type CameraCounts = Schemas['CameraCounts']
/** In documents of the server all fields are there, except the login. */
export type CameraSpec = Required<Omit<Schemas['CameraSpec'], 'login'>>
export type Camera = Omit<Schemas['Camera'], 'spec' | 'status'> & { spec: CameraSpec; status: CameraStatus }
export type CamerasEvent = Omit<Schemas['CamerasEvent'], 'cameras'> & { cameras: Camera[] }
export type CameraState = Schemas['CameraState']
export type CameraStatus = Required<Schemas['CameraStatus']>
export type CameraProbe = Schemas['CameraProbe']

/** A document that should be a `T`, not yet checked: any declared field may be missing or of another type. */
export type Unchecked<T> = { readonly [K in keyof T as string extends K ? never : K]?: unknown }
