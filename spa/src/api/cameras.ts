/** Calls of the API for cameras. A change sends the revision on which it is based as `If-Match`. */
import { call, encodePath } from './client'
import type { Camera, CameraProbe, CamerasEvent } from './types'

/** The body of a request. */
export type CameraBody = Readonly<Record<string, unknown>>

const JSON_BODY = { 'Content-Type': 'application/json' }
const matching = (revision: number | null): Record<string, string> =>
  revision === null ? {} : { 'If-Match': `"${revision}"` }
const path = (name: string): string => `api/cameras/${encodePath(name)}`

export const listCameras = (): Promise<CamerasEvent> => call('api/cameras', { cache: 'no-store' })

export const getCamera = (name: string): Promise<Camera> => call(path(name), { cache: 'no-store' })

export const createCamera = (body: CameraBody): Promise<Camera> =>
  call('api/cameras', { method: 'POST', headers: JSON_BODY, body: JSON.stringify(body) })

/** Changes the fields in `body`, only if the camera still has this revision; null changes any revision. */
export const patchCamera = (name: string, body: CameraBody, revision: number | null): Promise<Camera> =>
  call(path(name), {
    method: 'PATCH',
    headers: { 'Content-Type': 'application/merge-patch+json', ...matching(revision) },
    body: JSON.stringify(body),
  })

/** Removes it. The request outlives the page. */
export const removeCamera = (name: string, revision: number): Promise<null> =>
  call(path(name), { method: 'DELETE', headers: matching(revision), keepalive: true })

export const probeCamera = (body: CameraBody, signal: AbortSignal): Promise<CameraProbe> =>
  call('api/cameras/probe', { method: 'POST', headers: JSON_BODY, body: JSON.stringify(body), signal })
