/**
 * The path of the gateway's root as the browser sees it, ending in a slash: `/`, or `/ei/` behind a proxy's prefix.
 *
 * The gateway writes the relative path from each route to its root into the page: only the address bar has the prefix.
 */
export function basePath(written: string | undefined, page: string): string {
  if (!written) return '/'
  return new URL(written, page).pathname
}

const written = (): string | undefined =>
  import.meta.env.DEV || typeof document === 'undefined'
    ? undefined
    : document.querySelector<HTMLMetaElement>('meta[name="ei-root"]')?.content

/** Read once: the address changes with the route, and what the gateway wrote belongs to the first. */
export const BASE = basePath(written(), typeof location === 'undefined' ? 'http://localhost/' : location.href)
