/** The counters of a camera's zones and lines, read again while the page is visible. */
import { onBeforeUnmount, shallowRef, watch } from 'vue'

import { getCounts } from '@/api/camera_counts'
import type { CameraCounts } from '@/api/types'
import { pageVisible } from '@/composables/page_visible'

// The server's are of the last five seconds.
const AGAIN_MS = 5_000
// A camera without zones and lines, or a server without this address.
const IDLE_MS = 30_000

export function useFreshCounts(camera: () => string) {
  /** Null before the first answer; the last one while the server does not answer. */
  const counts = shallowRef<CameraCounts | null>(null)
  let timer: ReturnType<typeof setTimeout> | undefined
  let calls = 0

  async function read(): Promise<void> {
    clearTimeout(timer)
    const call = ++calls
    const found = await getCounts(camera()).catch(() => null)
    if (call !== calls) return
    if (found) counts.value = found
    const counted = found !== null && found.zones.length + found.lines.length > 0
    timer = setTimeout(() => void read(), counted ? AGAIN_MS : IDLE_MS)
  }

  function stop(): void {
    clearTimeout(timer)
    calls += 1
  }

  watch(
    [camera, pageVisible],
    ([name, visible], [before]) => {
      if (name !== before) counts.value = null
      if (visible) void read()
      else stop()
    },
    { immediate: true },
  )
  onBeforeUnmount(stop)
  return counts
}
