/** Keyboard shortcuts of a view, active while the component that calls this is mounted. */
import { onBeforeUnmount, onMounted } from 'vue'

/** Calls `handler` for each key pressed wherever the focus is: without Ctrl, Meta and Alt, or with any of them. */
export function useWindowKeys(handler: (event: KeyboardEvent) => void, withModifiers = false): void {
  const listener = (event: KeyboardEvent): void => {
    if (withModifiers || (!event.ctrlKey && !event.metaKey && !event.altKey)) handler(event)
  }
  onMounted(() => addEventListener('keydown', listener))
  onBeforeUnmount(() => removeEventListener('keydown', listener))
}

/** Whether the key goes into a form field and must not trigger a shortcut. */
export const isTyping = (event: KeyboardEvent): boolean =>
  (event.target as HTMLElement).matches('input, select, textarea')
