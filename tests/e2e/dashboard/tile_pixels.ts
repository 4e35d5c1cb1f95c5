/**
 * Compares what a tile shows with what was published: each shape of one plain colour must lie inside the box that is
 * drawn in its label's colour, edge on edge. Both are read from one screenshot, so any frame will do.
 */
import type { Locator, Page } from 'playwright-core'

import { labelColour } from '../../../spa/src/painter/label_colour'

/** Shapes of the test publisher: fill colour and label. */
export const SHAPES = [
  { fill: [255, 0, 255], label: 'person' },
  { fill: [0, 255, 255], label: 'car' },
  { fill: [160, 255, 0], label: 'bike' },
] as const

export interface ShapeSeen {
  label: string
  fill: { left: number; top: number; right: number; bottom: number } | null
  line: { left: number; top: number; right: number; bottom: number } | null
}

/** Extents of each shape and of the line around it, in pixels of the screenshot of one canvas. */
export async function shapesOf(page: Page, canvas: Locator, ratio = 1): Promise<ShapeSeen[]> {
  const image = (await canvas.screenshot()).toString('base64')
  const wanted = SHAPES.map((shape) => ({
    label: shape.label,
    fill: [...shape.fill],
    line: rgb(labelColour(shape.label)),
  }))
  return page.evaluate(
    async ({ image, wanted, ratio }) => {
      const bytes = Uint8Array.from(atob(image), (character) => character.charCodeAt(0))
      const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }))
      const surface = new OffscreenCanvas(bitmap.width, bitmap.height)
      const context = surface.getContext('2d')!
      context.drawImage(bitmap, 0, 0)
      const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height)
      // An image is a JPEG, scaled and smoothed: its edges are soft. Lines are drawn exactly.
      const near = (at: number, colour: number[], tolerance: number): boolean =>
        Math.abs(data[at]! - colour[0]!) <= tolerance &&
        Math.abs(data[at + 1]! - colour[1]!) <= tolerance &&
        Math.abs(data[at + 2]! - colour[2]!) <= tolerance
      const extent = (
        colour: number[],
        tolerance: number,
        area: { left: number; top: number; right: number; bottom: number },
      ) => {
        let found: { left: number; top: number; right: number; bottom: number } | null = null
        for (let y = Math.max(0, area.top); y < Math.min(height, area.bottom); y += 1) {
          for (let x = Math.max(0, area.left); x < Math.min(width, area.right); x += 1) {
            if (!near((y * width + x) * 4, colour, tolerance)) continue
            found ??= { left: x, top: y, right: x + 1, bottom: y + 1 }
            found.left = Math.min(found.left, x)
            found.right = Math.max(found.right, x + 1)
            found.bottom = y + 1
          }
        }
        return found
      }
      return wanted.map(({ label, fill, line }) => {
        const shape = extent(fill, 60, { left: 0, top: 0, right: width, bottom: height })
        // Only around the shape: chips and other boxes have the same colours. The plate above belongs to the box.
        const margin = 6 * ratio
        const around = shape && {
          left: shape.left - margin,
          top: shape.top - margin,
          right: shape.right + margin,
          bottom: shape.bottom + margin,
        }
        return { label, fill: shape, line: around && extent(line, 24, around) }
      })
    },
    { image, wanted, ratio },
  )
}

/**
 * How far a shape is from where its box's line says, px; Infinity without a line. The middle is compared exactly,
 * since soft edges shrink a shape on both sides alike; size and bottom with what smoothing may take (3 px a side).
 */
export function deviation(seen: ShapeSeen, ratio = 1): number {
  const { fill, line } = seen
  if (!fill || !line) return Number.POSITIVE_INFINITY
  // A line of 2 px over a dark one of 4 px lies on the edge: the fill ends 2 px inside of it, the line 1 px outside.
  const soft = 3 * ratio
  return Math.max(
    Math.abs((fill.left + fill.right) / 2 - (line.left + line.right) / 2),
    Math.abs(fill.right - fill.left + 6 * ratio - (line.right - line.left)) - 2 * soft,
    Math.abs(fill.bottom + 3 * ratio - line.bottom) - soft,
  )
}

/** Checks the first tiles of the page; top edges are left out, since a plate may lie on them. */
export async function checkTiles(
  page: Page,
  selector: string,
  maximum: number,
): Promise<{ checked: number; worst: number }> {
  const canvases = page.locator(`${selector} canvas`)
  let checked = 0
  let worst = 0
  for (let index = 0; index < Math.min(maximum, await canvases.count()); index += 1) {
    for (const seen of await shapesOf(page, canvases.nth(index))) {
      // The smaller model misses the last shape at times.
      if (!seen.line && seen.label === 'bike') continue
      worst = Math.max(worst, deviation(seen))
      checked += 1
    }
  }
  return { checked, worst }
}

function rgb(colour: string): number[] {
  const value = Number.parseInt(colour.slice(1), 16)
  return [value >> 16, (value >> 8) & 255, value & 255]
}
