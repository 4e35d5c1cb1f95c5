/**
 * The state of the server as the page knows it: session, streams, pool, connection. One for the whole page.
 *
 * Views read it; only this file uses the event stream.
 */
import { computed, readonly, ref, shallowRef } from 'vue'

import { ApiError, getSession, logout as endSession } from './api/client'
import { EventConnection } from './api/events'
import { ServerClock } from './api/server_clock'
import type { Session, Stats, Stream } from './api/types'
import { forgetCameras, loseCameras, takeCameras } from './cameras/store'
import { forgetEvents, takeEvents } from './events/newest'
import { usePainter } from './painter/painter'
import { PoolHistory } from './pool/history'

export type Connection = 'connecting' | 'live' | 'offline'

const session = shallowRef<Session | null>(null)
const sessionProblem = ref<string | null>(null)
const connection = ref<Connection>('connecting')
const offlineSinceMs = ref<number | null>(null)
const streams = shallowRef<readonly Stream[] | null>(null)
const stats = shallowRef<Stats | null>(null)
const missing = shallowRef<Readonly<Record<string, string>>>({})
const version = ref('')
/** Updated twice a second, for everything that shows an age. */
const nowMs = ref(Date.now())
const clock = new ServerClock()
const history = new PoolHistory()
let events: EventConnection | null = null
let ticking = false

/** Whether the login shows every camera. */
const seesAll = computed(() => session.value?.cameras?.includes('*') ?? true)
/** Whether the login shows the figures of the pool: only an admin of all cameras sees them. */
const seesPool = computed(() => seesAll.value && session.value?.role !== 'viewer')
/** Whether the login may see and change the cameras of the pool. */
const seesCameras = computed(() => session.value?.role === 'admin')
const needsLogin = computed(() => session.value?.login_required === true && !session.value.logged_in)

function learnTime(serverMs: number, localMs: number): void {
  clock.learn(serverMs, localMs)
  usePainter().clock(clock.offsetMs)
}

/** Fetches the session, and connects unless a login is needed first. */
async function start(): Promise<void> {
  tick()
  try {
    session.value = await getSession()
    sessionProblem.value = null
  } catch (error) {
    sessionProblem.value = error instanceof ApiError ? error.message : 'The server is unreachable.'
    setTimeout(() => void start(), 2000)
    return
  }
  version.value = session.value.version
  if (!needsLogin.value) connect()
}

function connect(): void {
  events ??= new EventConnection({
    time: learnTime,
    hello: (event) => {
      version.value = event.version
    },
    streams: (event) => {
      streams.value = event.streams
      missing.value = event.missing
    },
    stats: (event) => {
      // These come more often than `time`, and more samples give a better estimate.
      learnTime(event.time_ms, Date.now())
      stats.value = event
      missing.value = event.missing
    },
    cameras: takeCameras,
    log: takeEvents,
    problem: (event) => {
      missing.value = event.missing
    },
    opened: () => {
      connection.value = 'live'
      offlineSinceMs.value = null
    },
    lost: () => {
      connection.value = 'offline'
      offlineSinceMs.value ??= Date.now()
      loseCameras()
      forgetEvents()
      void checkSession()
    },
  })
  connection.value = 'connecting'
  events.open()
}

/** The connection may be lost because the session ended; then the login page is shown. */
async function checkSession(): Promise<void> {
  try {
    session.value = await getSession()
  } catch {
    return // the server is unavailable; the banner says so already
  }
  if (needsLogin.value) forget()
}

function loggedIn(now: Session): void {
  session.value = now
  if (!needsLogin.value) connect()
}

async function logout(): Promise<void> {
  session.value = await endSession()
  forget()
}

function forget(): void {
  events?.close()
  history.clear()
  forgetCameras()
  forgetEvents()
  streams.value = null
  stats.value = null
  missing.value = {}
  connection.value = 'connecting'
  offlineSinceMs.value = null
}

function tick(): void {
  if (ticking) return
  ticking = true
  setInterval(() => {
    nowMs.value = Date.now()
  }, 500)
  setInterval(() => {
    history.sample(Date.now(), connection.value === 'live' ? (stats.value?.types ?? null) : null)
  }, 1000)
}

export function useLive() {
  return {
    session: readonly(session),
    sessionProblem: readonly(sessionProblem),
    needsLogin,
    seesAll,
    seesPool,
    seesCameras,
    connection: readonly(connection),
    offlineSinceMs: readonly(offlineSinceMs),
    streams,
    stats,
    missing,
    version: readonly(version),
    nowMs: readonly(nowMs),
    history,
    /** The server's Unix seconds as local Unix ms. */
    localMs: (serverS: number): number => serverS * 1000 - (clock.offsetMs ?? 0),
    start,
    loggedIn,
    logout,
  }
}
