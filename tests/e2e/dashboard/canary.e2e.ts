/** A canary in the compare view: two models of a real pod infer the same frames, side by side. */
import type { Locator } from 'playwright-core'
import { expect, test } from 'vitest'

import { available, inferFaces, startInterview } from './real_models'
import { live, useSuite } from './suite'
import { waitFor } from './system'

const suite = useSuite()

test.skipIf(!available)(
  'a canary stands beside the running model, frame by frame, until it is dropped',
  { timeout: 150_000 },
  async () => {
    inferFaces(suite.system)
    startInterview(suite.system, 5)
    const canary = `${suite.system.url}/api/types/face/canary`
    const ask = async (method: string, body?: unknown): Promise<number> => {
      const answer = await fetch(canary, body ? { method, body: JSON.stringify(body) } : { method })
      return answer.status
    }
    const { page, complaints } = await suite.open('/compare/interview')
    try {
      const choice = { model: 'face-detection-retail-0005_INT8', share: 1 }
      await waitFor('the pod to report', async () => (await ask('PUT', choice)) === 200, 60_000)
      await live(page, 2, 60_000)
      const [left, right] = ['face', 'face.canary'].map((type) =>
        page.locator(`[data-stream="interview:${type}:inferred"]`),
      ) as [Locator, Locator]
      expect(await left.innerText()).toContain('FP32')
      expect(await right.innerText()).toContain('INT8')
      for (const column of [left, right])
        await waitFor('a face', async () => /[1-9]/.test(await column.locator('[data-is="detections"]').innerText()))
      await waitFor('in step', async () => (await page.locator('[data-is="step"]').innerText()) === 'in step', 30_000)
      expect(await ask('DELETE')).toBe(200)
      await waitFor('the canary to end', async () => (await right.getAttribute('data-state')) !== 'live', 60_000)
      expect(await left.getAttribute('data-state')).toBe('live')
      expect(complaints).toEqual([])
    } catch (error) {
      const seen = await page.locator('main').innerText()
      throw new Error(`${String(error)}\n${seen}\n${suite.system.words()}`, { cause: error })
    }
  },
)
