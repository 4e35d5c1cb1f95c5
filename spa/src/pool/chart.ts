/** Axes, lines and ranges that all charts share, in the page's colours. */
import uPlot from 'uplot'

export interface Palette {
  text: string
  line: string
  accent: string
  good: string
  warn: string
  bad: string
  panel: string
}

export function palette(): Palette {
  const style = getComputedStyle(document.documentElement)
  const value = (name: string): string => style.getPropertyValue(name).trim()
  return {
    text: value('--text-2'),
    line: value('--line'),
    accent: value('--accent'),
    good: value('--good'),
    warn: value('--warn'),
    bad: value('--bad'),
    panel: value('--panel'),
  }
}

const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'

export function timeAxis(colours: Palette): uPlot.Axis {
  return {
    stroke: colours.text,
    font: FONT,
    grid: { show: false },
    ticks: { stroke: colours.line, size: 4, width: 1 },
    size: 26,
    space: 90,
    values: (_chart, times) => times.map((time) => clock(time, times)),
  }
}

// Seconds only if the marks are less than a minute apart.
function clock(time: number, times: number[]): string {
  const date = new Date(time * 1000)
  const close = times.length > 1 && times[1]! - times[0]! < 60
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${two(date.getHours())}:${two(date.getMinutes())}${close ? `:${two(date.getSeconds())}` : ''}`
}

export function valueAxis(colours: Palette, more: Partial<uPlot.Axis> = {}): uPlot.Axis {
  return {
    stroke: colours.text,
    font: FONT,
    grid: { stroke: colours.line, width: 1 },
    ticks: { show: false },
    size: 40,
    space: 32,
    values: (_chart, ticks) => ticks.map(shortNumber),
    ...more,
  }
}

/** 1500 as 1.5k, since an axis has little room. */
export const shortNumber = (value: number | null): string =>
  value === null
    ? ''
    : Math.abs(value) >= 1000
      ? `${Math.round(value / 100) / 10}k`
      : String(Math.round(value * 100) / 100)

/** A line without marks at its points. */
export const line = (stroke: string, more: Partial<uPlot.Series> = {}): uPlot.Series => ({
  stroke,
  width: 1.5,
  points: { show: false },
  spanGaps: false,
  ...more,
})

export const stepped = (align: 1 | -1 = 1): uPlot.Series.PathBuilder => uPlot.paths.stepped!({ align })

/** A bar for each value, nearly as wide as the step between two. */
export const bars = (): uPlot.Series.PathBuilder => uPlot.paths.bars!({ size: [0.8, 12] })

/** A range from zero to at least `minimumTop`, which keeps noise from filling the chart. */
export function fromZero(minimumTop: number): uPlot.Range.Function {
  return (_chart, _low, high) => [0, Math.max(minimumTop, (Number.isFinite(high) ? high : 0) * 1.1)]
}
