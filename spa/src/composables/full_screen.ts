/** Shows `element` on the whole screen, or leaves full screen if it is on. */
export function toggleFullScreen(element: Element | undefined): void {
  if (document.fullscreenElement) void document.exitFullscreen()
  else void element?.requestFullscreen()
}
