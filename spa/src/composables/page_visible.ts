/** Whether the page is in sight: in a hidden tab nothing holds a websocket. */
import { readonly, ref } from 'vue'

const visible = ref(document.visibilityState !== 'hidden')
document.addEventListener('visibilitychange', () => {
  visible.value = document.visibilityState !== 'hidden'
})

export const pageVisible = readonly(visible)
