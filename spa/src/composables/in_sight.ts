/** One IntersectionObserver for all tiles: tells each whether it is in sight (or about to be). */
type Handler = (inSight: boolean) => void

const handlers = new Map<Element, Handler>()
let observer: IntersectionObserver | null = null

export function watchSight(element: Element, handler: Handler): () => void {
  observer ??= new IntersectionObserver(
    (entries) => {
      for (const entry of entries) handlers.get(entry.target)?.(entry.isIntersecting)
    },
    // A little ahead of scrolling, so that a picture is there when the tile comes up.
    { rootMargin: '120px 0px' },
  )
  handlers.set(element, handler)
  observer.observe(element)
  return () => {
    handlers.delete(element)
    observer?.unobserve(element)
  }
}
