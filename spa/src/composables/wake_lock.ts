/** Keeps the screen awake while a wall is shown. Does nothing where the browser can't (plain http, old ones). */
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
      lock = null // refused: low battery, or the page is not in sight
    }
  }

  onMounted(() => {
    wanted = true
    void ask()
  })
  // The browser takes the lock away when the page is hidden.
  watch(pageVisible, () => void ask())
  onBeforeUnmount(() => {
    wanted = false
    void lock?.release()
  })
}
