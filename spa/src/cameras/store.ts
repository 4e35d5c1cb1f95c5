/**
 * The cameras of the pool as the page knows them. The event `cameras` keeps them fresh; while none has come, the pages
 * of the cameras ask every few seconds.
 */
import { computed, onBeforeUnmount, onMounted, ref, shallowRef } from 'vue'

import { createCamera, getCamera, listCameras, patchCamera, removeCamera } from '@/api/cameras'
import { ApiError } from '@/api/client'
import type { Camera, CamerasEvent } from '@/api/types'

import { Removals } from './removals'

const POLL_MS = 3000
// Events report every change, except of costs and times.
const REFRESH_MS = 10_000

const cameras = shallowRef<readonly Camera[] | null>(null)
/** Why cameras cannot be changed now, or why they are unknown; a sentence of the server. */
const problem = ref<string | null>(null)
/** What went wrong with a row, until the next success or until it is closed. */
const failure = ref('')
let heard = false
/** Counts updates of the list: events, and our own changes. */
let news = 0
let watchers = 0
let timer: ReturnType<typeof setTimeout> | undefined

const removals = new Removals<Camera>(async (camera) => {
  try {
    await removeCamera(camera.name, camera.revision)
    drop(camera.name)
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) drop(camera.name)
    else if (error instanceof ApiError && error.status === 412)
      failure.value = `Somebody has changed ${camera.name} in the meantime: it was not removed.`
    else failure.value = `${camera.name} was not removed: ${sentence(error)}`
  }
})

const shown = computed(() => cameras.value?.filter((camera) => !removals.pending.value.has(camera.name)) ?? null)

/** Names of the cameras of the pool, for views that link to one. */
export const cameraNames = computed(() => new Set((cameras.value ?? []).map((camera) => camera.name)))

export const sentence = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Takes the event. A camera that did not change stays the same object, so that its row is not drawn again. */
export function takeCameras(event: CamerasEvent): void {
  heard = true
  news += 1
  take(event)
}

function take(event: CamerasEvent): void {
  problem.value = event.problem ?? null
  cameras.value = keepUnchanged(cameras.value ?? [], event.cameras)
}

export function keepUnchanged(old: readonly Camera[], next: readonly Camera[]): Camera[] {
  const before = new Map(old.map((camera) => [camera.name, camera]))
  return next.map((camera) => {
    const known = before.get(camera.name)
    return known && JSON.stringify(known) === JSON.stringify(camera) ? known : camera
  })
}

/** The connection is lost: from now on the list must be polled. */
export function loseCameras(): void {
  heard = false
}

export function forgetCameras(): void {
  heard = false
  cameras.value = null
  problem.value = null
  failure.value = ''
}

function put(camera: Camera): void {
  news += 1
  const others = (cameras.value ?? []).filter((one) => one.name !== camera.name)
  cameras.value = [...others, camera]
}

function drop(name: string): void {
  news += 1
  cameras.value = cameras.value?.filter((camera) => camera.name !== name) ?? null
}

async function poll(): Promise<void> {
  clearTimeout(timer)
  const before = news
  try {
    const event = await listCameras()
    // An event that came in the meantime is newer.
    if (news === before) take(event)
  } catch (error) {
    if (!heard) problem.value = sentence(error)
  }
  clearTimeout(timer)
  if (watchers > 0) timer = setTimeout(() => void poll(), heard ? REFRESH_MS : POLL_MS)
}

/** Keeps the list fresh while the component that calls this is mounted. `allowed`: whether the login may see it. */
export function useFreshCameras(allowed: boolean): void {
  if (!allowed) return
  onMounted(() => {
    watchers += 1
    void poll()
  })
  onBeforeUnmount(() => {
    watchers -= 1
    if (watchers === 0) clearTimeout(timer)
  })
}

export function useCameras() {
  return {
    /** The cameras without those that are being removed; null before the first answer. */
    cameras: shown,
    problem,
    failure,
    removals,
    async add(body: Readonly<Record<string, unknown>>): Promise<Camera> {
      const camera = await createCamera(body)
      put(camera)
      return camera
    },
    async change(name: string, body: Readonly<Record<string, unknown>>, revision: number | null): Promise<Camera> {
      const camera = await patchCamera(name, body, revision)
      put(camera)
      return camera
    },
    async reload(name: string): Promise<Camera> {
      const camera = await getCamera(name)
      put(camera)
      return camera
    },
    /** Pauses or resumes it. */
    async enable(name: string, enabled: boolean): Promise<void> {
      failure.value = ''
      try {
        put(await patchCamera(name, { enabled }, null))
      } catch (error) {
        failure.value = `${name} was not ${enabled ? 'resumed' : 'paused'}: ${sentence(error)}`
      }
    },
  }
}
