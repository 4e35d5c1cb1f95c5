/** A list from which things are removed, with a bar that undoes it: where the focus goes, and what leaving does. */
import { computed, nextTick, onBeforeUnmount, onMounted, type Ref, watch } from 'vue'

import type { Named, Removals } from '@/cameras/removals'

const focusOn = (selector: string): Promise<void> =>
  nextTick(() => document.querySelector<HTMLElement>(selector)?.focus({ preventScroll: true }))

/** `button` is the selector of the button that removes this one. The heading gets the focus when the bar is empty. */
export function useUndo<T extends Named>(
  removals: Removals<T>,
  heading: Readonly<Ref<HTMLElement | undefined>>,
  button: (name: string) => string,
) {
  const undoable = computed(() => [...removals.pending.value.keys()].filter((name) => removals.canUndo(name)))

  function remove(one: T): void {
    removals.remove(one)
    void focusOn(`[data-undo="${one.name}"]`)
  }

  function undo(name: string): void {
    if (removals.undo(name)) void focusOn(button(name))
  }

  // The button that had the focus has disappeared with its line.
  watch(
    () => undoable.value.length,
    (now, before) => {
      if (now < before && document.activeElement === document.body) heading.value?.focus({ preventScroll: true })
    },
    { flush: 'post' },
  )

  const leave = (): void => removals.flush()
  onMounted(() => addEventListener('pagehide', leave))
  onBeforeUnmount(() => {
    removeEventListener('pagehide', leave)
    leave()
  })
  return { undoable, remove, undo }
}
