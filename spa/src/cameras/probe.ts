/** Asks the server to probe a camera's address, and holds the answer. */
import { onBeforeUnmount, shallowRef } from 'vue'

import { probeCamera } from '@/api/cameras'
import { ApiError } from '@/api/client'
import type { CameraProbe } from '@/api/types'
import { fps } from '@/format'

import { type CameraForm, type FieldErrors, placeErrors, probeBody } from './form'
import { sentence } from './store'

export type ProbeState =
  | { kind: 'idle' }
  | { kind: 'busy' }
  | { kind: 'failed'; why: string }
  | { kind: 'done'; found: CameraProbe; substream: SubstreamProbe | null }

/** What a probe of the substream found, in words. */
export interface SubstreamProbe {
  fact: string
  /** What is wrong with it; empty if nothing is. */
  problem: string
}

/** `refused` is called with the fields that the server does not accept. */
export function useProbe(refused: (errors: FieldErrors) => void) {
  const state = shallowRef<ProbeState>({ kind: 'idle' })
  let running: AbortController | null = null

  function reset(): void {
    running?.abort()
    running = null
    state.value = { kind: 'idle' }
  }
  onBeforeUnmount(reset)

  async function check(form: CameraForm, name: string | null): Promise<void> {
    reset()
    const mine = new AbortController()
    running = mine
    state.value = { kind: 'busy' }
    try {
      const asked = form.substream.trim() ? probeCamera(probeBody(form, name, 'substream'), mine.signal) : null
      // Its failure is a line of the answer, not the failure of the check.
      const second = asked?.catch((error: unknown) => error)
      const found = await probeCamera(probeBody(form, name), mine.signal)
      const substream = second === undefined ? null : substreamWords(found, await second)
      if (running === mine) state.value = { kind: 'done', found, substream }
    } catch (error) {
      if (running !== mine) return
      const { errors, other } = placeErrors(error instanceof ApiError ? error.fields : {})
      const placed = Object.keys(errors).length > 0
      state.value =
        placed && !other.length ? { kind: 'idle' } : { kind: 'failed', why: other.join(' ') || sentence(error) }
      if (placed) refused(errors)
    }
  }

  return { state, check, reset }
}

/** Proportions that differ by more than this share are refused by the source worker, too. */
const OTHER_SHAPE = 0.1

/** The message about a substream, from its probe or the probe's error. */
export function substreamWords({ report: main }: CameraProbe, answer: unknown): SubstreamProbe {
  if (answer === null || typeof answer !== 'object' || !('report' in answer)) {
    const fields = answer instanceof ApiError ? Object.values(answer.fields) : []
    return { fact: '–', problem: `The substream can't be opened: ${fields.join(' ') || sentence(answer)}` }
  }
  const { report } = answer as CameraProbe
  const differs = Math.abs((report.width * main.height) / (report.height * main.width) - 1) > OTHER_SHAPE
  return {
    fact: `${report.width} × ${report.height}, ${rate(report.fps, report.stated_fps)}`,
    problem: differs
      ? 'The proportions of the substream are not those of the main stream, so it will not be used. ' +
        'Choose another size for it in the camera.'
      : '',
  }
}

const CODECS: Record<string, string> = { h264: 'H.264', hevc: 'H.265', mjpeg: 'MJPEG', mpeg4: 'MPEG-4', av1: 'AV1' }

/** What a probe found, as words and values. */
export function probeFacts({ report }: CameraProbe): [string, string][] {
  const codec = report.codec ? (CODECS[report.codec] ?? report.codec) : '–'
  const facts: [string, string][] = [
    ['Codec', report.profile ? `${codec} (${report.profile})` : codec],
    ['Size', `${report.width} × ${report.height}`],
    ['Rate', rate(report.fps, report.stated_fps)],
  ]
  if (report.key_frame_s !== null) facts.push(['Key frame', `every ${Math.round(report.key_frame_s * 10) / 10} s`])
  if (report.transport) facts.push(['Reached by', report.transport])
  const share = (report.used_fps * report.cpu_ms) / 1000
  facts.push([
    'Cost',
    `${share < 0.01 ? 'under 1' : Math.round(share * 100)} % of a core at ${fps(report.used_fps)} fps`,
  ])
  return facts
}

function rate(measured: number | null, stated: number | null): string {
  if (measured === null) return stated === null ? '–' : `${fps(stated)} fps`
  const differs = stated !== null && Math.abs(stated - measured) > Math.max(1, stated / 10)
  return `${fps(measured)} fps${differs ? `; the camera states ${fps(stated)}` : ''}`
}
