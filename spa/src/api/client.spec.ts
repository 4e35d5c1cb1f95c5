import { afterEach, expect, test, vi } from 'vitest'

import { ApiError, getSession, login, restAddress, socketAddress } from './client'

afterEach(() => void vi.unstubAllGlobals())
const answer = (body: string, status = 200) =>
  vi.stubGlobal(
    'fetch',
    vi.fn(async () => new Response(body, { status })),
  )

test('the server’s own sentence is shown', async () => {
  answer('{"error":{"code":"unauthorized","message":"The token is wrong."}}', 401)
  await expect(login('x')).rejects.toEqual(new ApiError(401, 'unauthorized', 'The token is wrong.'))
})

test('an answer of something else, and none at all, are errors with a sentence', async () => {
  answer('<html>Bad gateway</html>', 502)
  await expect(getSession()).rejects.toMatchObject({ status: 502, message: 'The server answered 502.' })
  vi.stubGlobal(
    'fetch',
    vi.fn(async () => Promise.reject(new TypeError('failed'))),
  )
  await expect(getSession()).rejects.toMatchObject({ status: 0, code: 'unreachable' })
})

test('addresses follow the page', () => {
  const at = { protocol: 'https:', host: 'site:31002', origin: 'https://site:31002' } as Location
  expect(socketAddress('gate-1:people:inferred', at)).toBe('wss://site:31002/gate-1:people:inferred')
  expect(restAddress('gate-1:people:inferred', at)).toBe('https://site:31002/api/streams/gate-1:people:inferred')
  expect(socketAddress('a:b:inferred', at, '/ei/')).toBe('wss://site:31002/ei/a:b:inferred')
  expect(restAddress('a:b:inferred', at, '/ei/')).toBe('https://site:31002/ei/api/streams/a:b:inferred')
})
