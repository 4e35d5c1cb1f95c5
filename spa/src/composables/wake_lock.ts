/** Keeps the screen awake while a wall is shown, where the browser supports it (https, recent versions). */
import { onBeforeUnmount, onMounted, watch } from 'vue'

import { pageVisible } from './page_visible'

export function useWakeLock(): void {
  let lock: WakeLockSentinel | null = null
  let wanted = false

  async function ask(): Promise<void> {
    if (!wanted || !pageVisible.value || !('wakeLock' in navigator)) return
    try {
      lock = await navigator.wakeLock.request('screen')
      if (!wanted) void lock.release()
    } catch {
      lock = null // refused: the battery is low, or the page is hidden
    }
  }

  onMounted(() => {
    wanted = true
    void ask()
  })
  // The browser releases the lock when the page is hidden.
  watch(pageVisible, () => void ask())
  onBeforeUnmount(() => {
    wanted = false
    void lock?.release()
  })
}
