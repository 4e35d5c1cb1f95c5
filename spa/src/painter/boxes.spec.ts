import { expect, test } from 'vitest'

import { type BoxOptions, drawBoxes, isShown, letterbox, boxArea, plateText, trackText } from './boxes'
import type { Found } from './result_message'

const person: Found = { label: 'person', confidence: 0.934, x0: 0.25, y0: 0.5, x1: 0.5, y1: 1, index: 0 }
const all: BoxOptions = { boxes: true, labels: true, trails: true, zones: true, threshold: 0, only: null }

/** A context that records what is drawn. */
function paper() {
  const texts: string[] = []
  const strokes: { width: number; box: number[]; colour: string }[] = []
  const plates: number[][] = []
  const context = {
    strokeStyle: '',
    fillStyle: '',
    lineWidth: 0,
    globalAlpha: 1,
    save() {},
    restore() {},
    beginPath() {},
    rect() {},
    clip() {},
    stroke() {},
    setLineDash() {},
    strokeRect(...box: number[]) {
      strokes.push({ width: this.lineWidth, box, colour: this.strokeStyle })
    },
    fillRect: (...box: number[]) => void plates.push(box),
    fillText: (text: string) => void texts.push(text),
    measureText: (text: string) => ({ width: text.length * 7 }),
  }
  return { context: context as unknown as CanvasRenderingContext2D, texts, strokes, plates }
}

test.each([
  [768, 432, 320, 180, { x: 0, y: 0, width: 320, height: 180 }],
  [640, 480, 320, 180, { x: 40, y: 0, width: 240, height: 180 }],
  [1920, 480, 320, 180, { x: 0, y: 50, width: 320, height: 80 }],
  [1, 10_000, 320, 180, { x: 159, y: 0, width: 1, height: 180 }],
])('a frame of %dx%d is centred in %dx%d', (frameWidth, frameHeight, width, height, area) => {
  expect(letterbox(frameWidth, frameHeight, width, height)).toEqual(area)
})

test('a box goes where it is in the frame, in whole pixels', () => {
  expect(boxArea(person, { x: 40, y: 0, width: 240, height: 180 })).toEqual({ x: 100, y: 90, width: 60, height: 90 })
  expect(boxArea({ ...person, x1: 0.2501, y1: 0.5001 }, { x: 0, y: 0, width: 100, height: 100 })).toMatchObject({
    width: 1,
    height: 1,
  })
})

test('threshold and labels choose what is shown', () => {
  expect(isShown(person, { ...all, threshold: 0.95 })).toBe(false)
  expect(isShown(person, { ...all, only: new Set(['car']) })).toBe(false)
  expect(isShown(person, { ...all, only: new Set(['person']), threshold: 0.9 })).toBe(true)
})

test('lines are 2 px at any pixel ratio, and thin below a confidence of 0.5', () => {
  for (const ratio of [1, 2, 3]) {
    const { context, strokes } = paper()
    drawBoxes(
      context,
      [person, { ...person, confidence: 0.4 }],
      { x: 0, y: 0, width: 800 * ratio, height: 450 * ratio },
      ratio,
      all,
    )
    expect(strokes.map((stroke) => stroke.width)).toEqual([2 * ratio, ratio])
    expect(strokes[0]!.colour).toBe('#009E73')
  }
})

test('the plate says label and percent, inside the image, and not over another one', () => {
  const { context, texts, plates } = paper()
  const top: Found = { ...person, y0: 0, y1: 0.5, confidence: 0.8 }
  const same: Found = { ...top, label: 'child', confidence: 0.7 }
  const tiny: Found = { ...person, x0: 0, x1: 0.005, y0: 0.1, y1: 0.9 }
  drawBoxes(context, [tiny, same, top], { x: 0, y: 0, width: 800, height: 450 }, 1, all)
  expect(plateText(person)).toBe('person 93')
  expect(texts).toEqual(['person 80', 'child 70'])
  expect(plates.map(([, y]) => y)).toEqual([0, 16])
})

test('nothing is drawn with boxes off; among differences, boxes that both have get no plate', () => {
  const off = paper()
  expect(drawBoxes(off.context, [person], { x: 0, y: 0, width: 800, height: 450 }, 1, { ...all, boxes: false })).toBe(0)
  expect(off.strokes).toEqual([])
  const marked = paper()
  drawBoxes(
    marked.context,
    [person, { ...person, x0: 0.6, x1: 0.9, label: 'car' }],
    { x: 0, y: 0, width: 800, height: 450 },
    1,
    all,
    ['both', 'only'],
  )
  expect(marked.texts).toEqual(['car 93'])
})

test('a plate ends with the number of the object; where that is too long it is left out, or stands alone', () => {
  const tracked: Found = { ...person, track: 'gate-1:people:inferred/7-12' }
  const area = { x: 0, y: 0, width: 800, height: 450 }
  const plates = (x1: number): string[] => {
    const sheet = paper()
    drawBoxes(sheet.context, [{ ...tracked, x1 }], area, 1, all)
    return sheet.texts
  }
  expect(plates(0.5)).toEqual(['person 93 #12'])
  expect(plates(0.3)).toEqual(['person 93'])
  expect(plates(0.28)).toEqual(['#12'])
  expect(trackText({ ...person, track: 'nonsense' })).toBe('')
})
