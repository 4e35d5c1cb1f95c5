/** Calls of the sinks' part of the API. */
import { call, encodePath } from './client'
import type { DeadLetters, DeadRemoved, Resent, Sinks, SinkTest, SinkView } from './types'

const JSON_BODY = { 'Content-Type': 'application/json' }
const path = (name: string, more = ''): string => `api/sinks/${encodePath(name)}${more}`

export const listSinks = (): Promise<Sinks> => call('api/sinks', { cache: 'no-store' })

/** Adds or replaces it. With a revision, the server refuses (412) if somebody has changed it since. */
export const putSink = (
  name: string,
  body: Readonly<Record<string, unknown>>,
  revision: string | null,
): Promise<SinkView> =>
  call(path(name), {
    method: 'PUT',
    headers: { ...JSON_BODY, ...(revision === null ? {} : { 'If-Match': `"${revision}"` }) },
    body: JSON.stringify(body),
  })

/** Removes it. The request outlives the page. */
export const removeSink = (name: string): Promise<null> => call(path(name), { method: 'DELETE', keepalive: true })

/** Delivers a test event; this takes as long as the sink does. */
export const testSink = (name: string): Promise<SinkTest> => call(path(name, '/test'), { method: 'POST' })

export const listDeadLetters = (name: string): Promise<DeadLetters> => call(path(name, '/dead'), { cache: 'no-store' })

/** Delivers these dead letters again; null means the oldest hundred. */
export const resendDeadLetters = (name: string, ids: readonly string[] | null): Promise<Resent> =>
  call(path(name, '/dead/resend'), { method: 'POST', headers: JSON_BODY, body: JSON.stringify(ids ? { ids } : {}) })

/** Deletes these dead letters; null means all. The request outlives the page. */
export const removeDeadLetters = (name: string, ids: readonly string[] | null): Promise<DeadRemoved> => {
  const query = new URLSearchParams((ids ?? []).map((id) => ['id', id]))
  return call(path(name, `/dead?${query}`), { method: 'DELETE', keepalive: true })
}
