/**
 * The counters of a camera's zones and lines, read again while somebody looks at them. All views of one camera share
 * what is read.
 */
import { computed, onBeforeUnmount, type ShallowRef, shallowRef, watch } from 'vue'

import { getCounts } from '@/api/camera_counts'
import type { CameraCounts } from '@/api/types'
import { pageVisible } from '@/composables/page_visible'

// The server's are of the last five seconds.
const AGAIN_MS = 5_000
// A camera without zones and lines, or a server without this address.
const IDLE_MS = 30_000

class Reader {
  /** Null before the first answer; the last one while the server does not answer. */
  readonly counts: ShallowRef<CameraCounts | null> = shallowRef(null)
  private users = 0
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(readonly camera: string) {}

  use(): void {
    this.users += 1
    if (this.users === 1) void this.read()
  }

  leave(): void {
    this.users -= 1
    if (this.users > 0) return
    clearTimeout(this.timer)
    readers.delete(this.camera)
  }

  private async read(): Promise<void> {
    const found = await getCounts(this.camera).catch(() => null)
    if (found) this.counts.value = found
    if (this.users === 0) return
    const counted = found !== null && found.zones.length + found.lines.length > 0
    this.timer = setTimeout(() => void this.read(), counted ? AGAIN_MS : IDLE_MS)
  }
}

const readers = new Map<string, Reader>()

function readerOf(camera: string): Reader {
  const known = readers.get(camera) ?? new Reader(camera)
  readers.set(camera, known)
  return known
}

/** Of `camera`, while `wanted` and the page is visible; null before the first answer. */
export function useFreshCounts(camera: () => string, wanted: () => boolean = () => true) {
  const reader = shallowRef<Reader | null>(null)
  let used: Reader | null = null

  function use(next: Reader | null): void {
    if (next === used) return
    next?.use()
    used?.leave()
    used = next
  }

  watch(
    [camera, () => wanted() && pageVisible.value] as const,
    ([name, reads]) => {
      // While nobody looks, the last answer stays.
      if (reads || reader.value?.camera !== name) reader.value = reads ? readerOf(name) : null
      use(reads ? reader.value : null)
    },
    { immediate: true },
  )
  onBeforeUnmount(() => use(null))
  return computed(() => reader.value?.counts.value ?? null)
}
