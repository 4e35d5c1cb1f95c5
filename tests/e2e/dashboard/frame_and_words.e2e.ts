/** The text beside a tile must belong to the frame that the tile shows. */
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'

import { labelColour } from '../../../spa/src/painter/label_colour'
import { live, useSuite } from './suite'
import { timeFactor } from './system'

const STREAM = 'gate-1:people:inferred'
const PERSON = { label: 'person', confidence: 0.9, box: [0.02, 0.02, 0.98, 0.98] }
// The page shows a message of the painter one or two animation frames later; reports come every 500 ms.
const LIMIT_MS = 150
const suite = useSuite({ streams: ['gate-1:people'] })

interface Contradictions {
  /** How often the box came or went. */
  changes: number
  /** The longest time for which the words said otherwise than the canvas, ms. */
  longestMs: number
}

/** Compares box and words of one tile in each animation frame, until `watched` is set on the window. */
async function watch(page: Page, words: { selector: string; found: string }): Promise<Contradictions> {
  const colour = Number.parseInt(labelColour('person').slice(1), 16)
  return page.evaluate(
    async ({ selector, found, rgb }) => {
      const canvas = document.querySelector<HTMLCanvasElement>('article.tile canvas')!
      const copy = new OffscreenCanvas(canvas.clientWidth, 1).getContext('2d', { willReadFrequently: true })!
      const { width } = copy.canvas
      // One line of pixels through the middle crosses the left and the right side of the box.
      const boxIsDrawn = (): boolean => {
        copy.drawImage(canvas, 0, Math.floor(canvas.height / 2), canvas.width, 1, 0, 0, width, 1)
        const { data } = copy.getImageData(0, 0, Math.ceil(width / 10), 1)
        for (let at = 0; at < data.length; at += 4)
          if (rgb.every((value, channel) => Math.abs(data[at + channel]! - value) < 40)) return true
        return false
      }
      const result = { changes: 0, longestMs: 0 }
      let before = boxIsDrawn()
      let since: number | null = null
      while (!('watched' in window)) {
        const now = await new Promise<number>((resolve) => requestAnimationFrame(resolve))
        const drawn = boxIsDrawn()
        if (drawn !== before) result.changes += 1
        before = drawn
        const said = document.querySelector(selector)?.textContent?.includes(found) ?? false
        if (said === drawn) since = null
        else {
          since ??= now
          result.longestMs = Math.max(result.longestMs, now - since)
        }
      }
      return result
    },
    { ...words, rgb: [colour >> 16, (colour >> 8) & 255, colour & 255] },
  )
}

test.each([
  ['a tile', '/', { selector: '[data-is="detections"]', found: '1 detection' }],
  ['one stream', `/stream/${STREAM}`, { selector: '.found', found: 'person' }],
])('%s says what its frame shows, and no longer', async (_view, path, words) => {
  const { page, complaints } = await suite.open(path)
  await live(page, 1)
  const watched = watch(page, words)
  for (let change = 0; change < 12; change += 1) {
    const detections = change % 2 ? [] : [PERSON]
    await suite.publisher.tell({ do: 'override', stream: STREAM, detections })
    await page.waitForTimeout(400)
  }
  await page.evaluate(() => Object.assign(window, { watched: true }))
  const { changes, longestMs } = await watched
  await suite.publisher.tell({ do: 'override', stream: STREAM, detections: null })
  expect(changes).toBeGreaterThanOrEqual(8)
  expect(longestMs).toBeLessThan(LIMIT_MS * timeFactor)
  expect(complaints).toEqual([])
})
