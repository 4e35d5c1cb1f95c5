/** The pen: the shape that is being drawn, point by point, by pointer or by keys. */
import { ref, shallowRef } from 'vue'

import { inFrame, type Kind, maximumPoints, minimumPoints, type XY } from './shapes'

const STEP = 0.01
const LARGE_STEP = 0.05
const ARROWS: Readonly<Record<string, XY>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
}

/** The move of an arrow key, in shares of the frame; null for another key. */
export function arrowStep(event: Pick<KeyboardEvent, 'key' | 'shiftKey'>): XY | null {
  const way = ARROWS[event.key]
  const step = event.shiftKey ? LARGE_STEP : STEP
  return way ? [way[0] * step, way[1] * step] : null
}

export function usePen(done: (kind: Kind, points: readonly XY[]) => void) {
  const kind = ref<Kind | null>(null)
  const points = shallowRef<readonly XY[]>([])
  /** Where the next point would be. */
  const tip = shallowRef<XY>([0.5, 0.5])

  function stop(): void {
    kind.value = null
    points.value = []
  }

  function finish(): void {
    if (kind.value === null || points.value.length < minimumPoints(kind.value)) return
    const [made, drawn] = [kind.value, points.value]
    stop()
    done(made, drawn)
  }

  function put(at: XY): void {
    if (kind.value === null) return
    const point = inFrame(at)
    const [lastX, lastY] = points.value.at(-1) ?? [-1, -1]
    const first = points.value[0]
    // A click on the first corner closes a zone; the second click of a double click does not set another point.
    if (first && points.value.length >= 3 && Math.hypot(point[0] - first[0], point[1] - first[1]) < 0.02)
      return finish()
    if (Math.hypot(point[0] - lastX, point[1] - lastY) < 0.005) return
    points.value = [...points.value, point]
    if (points.value.length === maximumPoints(kind.value)) finish()
  }

  return {
    kind,
    points,
    tip,
    start(what: Kind): void {
      stop()
      kind.value = what
      tip.value = [0.5, 0.5]
    },
    put,
    finish,
    stop,
    back(): void {
      points.value = points.value.slice(0, -1)
    },
  }
}

/** Handles a key; returns whether the pen uses it. */
export function penKey(pen: Pen, event: Pick<KeyboardEvent, 'key' | 'shiftKey'>): boolean {
  if (pen.kind.value === null) return false
  const [x, y] = pen.tip.value
  const step = arrowStep(event)
  if (step) pen.tip.value = inFrame([x + step[0], y + step[1]])
  else if (event.key === ' ') pen.put(pen.tip.value)
  else if (event.key === 'Enter') pen.finish()
  else if (event.key === 'Escape') pen.stop()
  else if (event.key === 'Backspace') pen.back()
  else return false
  return true
}

export type Pen = ReturnType<typeof usePen>
