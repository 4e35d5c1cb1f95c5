/** What axe finds on a page. */
import axe from 'axe-core'
import type { Page } from 'playwright-core'

interface Node {
  html: string
  failureSummary?: string
}
interface Axe {
  run(context: Document, options: object): Promise<{ violations: { id: string; nodes: Node[] }[] }>
}

/** The violations, a line each. The page's CSP blocks scripts from a test, so axe is injected through the debugger. */
export async function axeFindings(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  return page.evaluate(async () => {
    const { axe: here } = window as unknown as { axe: Axe }
    const { violations } = await here.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'],
      // It does not describe the elements that keep the rules, which are most of them.
      resultTypes: ['violations'],
    })
    const words = (node: Node) => `${node.html.slice(0, 200)} ${node.failureSummary ?? ''}`
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(words).join(' | ')}`)
  })
}
