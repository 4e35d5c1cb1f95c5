/** Dark or light: the system's theme until the viewer switches. The choice is kept in the browser. */
import { computed, ref, watchEffect } from 'vue'

export type Theme = 'dark' | 'light'
const KEY = 'ei-theme'

const system = matchMedia('(prefers-color-scheme: light)')
const systemTheme = ref<Theme>(system.matches ? 'light' : 'dark')
const chosen = ref<Theme | null>(stored())
const theme = computed<Theme>(() => chosen.value ?? systemTheme.value)

system.addEventListener('change', () => {
  systemTheme.value = system.matches ? 'light' : 'dark'
})
watchEffect(() => {
  document.documentElement.dataset.theme = theme.value
})

function stored(): Theme | null {
  try {
    const value = localStorage.getItem(KEY)
    return value === 'dark' || value === 'light' ? value : null
  } catch {
    return null // storage is blocked; use the system's theme
  }
}

function toggle(): void {
  const next: Theme = theme.value === 'dark' ? 'light' : 'dark'
  // Back at the system's theme: follow it again.
  chosen.value = next === systemTheme.value ? null : next
  try {
    if (chosen.value) localStorage.setItem(KEY, chosen.value)
    else localStorage.removeItem(KEY)
  } catch {
    // storage is blocked; the choice lasts until the page is closed
  }
}

export function useTheme() {
  return { theme, toggle }
}
