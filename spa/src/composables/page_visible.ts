/** Whether the page is visible: a hidden tab holds no websocket. */
import { readonly, ref } from 'vue'

const visible = ref(document.visibilityState !== 'hidden')
document.addEventListener('visibilitychange', () => {
  visible.value = document.visibilityState !== 'hidden'
})

export const pageVisible = readonly(visible)
