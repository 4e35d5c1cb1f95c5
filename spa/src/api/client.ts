/** REST calls to the gateway. Every failure is an `ApiError` with a sentence to show. */
import { BASE } from './base'
import type { ApiErrorBody, Session } from './types'

export class ApiError extends Error {
  constructor(
    /** HTTP status, or 0 if the server is unreachable. */
    readonly status: number,
    readonly code: string,
    message: string,
    /** A sentence for each field of the request that was refused. */
    readonly fields: Readonly<Record<string, string>> = {},
  ) {
    super(message)
  }
}

/** Calls the API; `T` is the JSON of its response, null if the response has no body. */
export async function call<T>(path: string, init?: RequestInit): Promise<T> {
  let response: Response
  try {
    response = await fetch(BASE + path, { ...init, headers: { Accept: 'application/json', ...init?.headers } })
  } catch {
    throw new ApiError(0, 'unreachable', 'The server is unreachable.')
  }
  const body: unknown = await response.json().catch(() => null)
  if (!response.ok) {
    const error = (body as ApiErrorBody | null)?.error
    throw new ApiError(
      response.status,
      error?.code ?? 'unknown',
      error?.message ?? `The server answered ${response.status}.`,
      error?.fields ?? {},
    )
  }
  return body as T
}

export const getSession = (): Promise<Session> => call('api/session')

export const login = (token: string): Promise<Session> =>
  call('api/login', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ token }),
  })

export const logout = (): Promise<Session> =>
  call('api/logout', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' })

/** Address of a stream's websocket on the server of this page. */
export function socketAddress(id: string, at: Location = location, base = BASE): string {
  return `${at.protocol === 'https:' ? 'wss' : 'ws'}://${at.host}${base}${encodePath(id)}`
}

/** Address of a stream's REST document. */
export function restAddress(id: string, at: Location = location, base = BASE): string {
  return `${at.origin}${base}api/streams/${encodePath(id)}`
}

/** Address of a stream's newest frame, a JPEG. */
export const snapshotAddress = (id: string, base = BASE): string => `${base}api/streams/${encodePath(id)}/snapshot.jpg`

// A colon is allowed in a path, and ids are easier to read with it.
export const encodePath = (id: string): string => encodeURIComponent(id).replaceAll('%3A', ':')
