/** One IntersectionObserver for all tiles: tells each whether it is on the screen or about to be. */
type Handler = (inSight: boolean) => void

const handlers = new Map<Element, Handler>()
let observer: IntersectionObserver | null = null

export function watchSight(element: Element, handler: Handler): () => void {
  observer ??= new IntersectionObserver(
    (entries) => {
      for (const entry of entries) handlers.get(entry.target)?.(entry.isIntersecting)
    },
    // Starts a little early, so that a tile that scrolls in has its image already.
    { rootMargin: '120px 0px' },
  )
  handlers.set(element, handler)
  observer.observe(element)
  return () => {
    handlers.delete(element)
    observer?.unobserve(element)
  }
}
