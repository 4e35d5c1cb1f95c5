/** End to end: a clip through the queue, real inference, broker, relay and gateway to the page. */
import { expect, test } from 'vitest'

import { available, inferFaces, startInterview } from './real_models'
import { useSuite } from './suite'
import { waitFor } from './system'

const suite = useSuite()

test.skipIf(!available)(
  'real faces are found; a killed inference service shows as such and comes back',
  { timeout: 150_000 },
  async () => {
    startInterview(suite.system, 10)
    let inference = inferFaces(suite.system)
    const { page, complaints } = await suite.open('/')
    const tile = page.locator('article.tile[data-stream="interview:face:inferred"]')
    try {
      await waitFor('the tile to be live', async () => (await tile.getAttribute('data-state')) === 'live', 60_000)
      await waitFor('a face', async () => /[12] detections?/.test(await tile.innerText()), 30_000)
      await waitFor('the precision', async () => (await tile.innerText()).includes('FP32'))
      // What the page says is what the API says.
      const stream = (await (await fetch(`${suite.system.url}/api/streams/interview:face:inferred`)).json()) as {
        model: string
        width: number
      }
      expect(stream.model).toBe('face-detection-retail-0005')
      await inference.stop('SIGKILL')
      await waitFor('the tile to be dead', async () => (await tile.getAttribute('data-state')) === 'dead', 30_000)
      await waitFor('the reason', async () => (await tile.innerText()).includes('no pods for face'), 30_000)
      await page.getByRole('link', { name: 'Pool' }).click()
      const sentence = page.locator('[data-type="face"] [data-is="sentence"]')
      await waitFor('the pool to say so', async () => (await sentence.innerText()).startsWith('face: no pods'), 40_000)
      inference = inferFaces(suite.system)
      await waitFor(
        'the pool to be healthy again',
        async () => !(await sentence.innerText()).startsWith('face: no pods'),
        60_000,
      )
      await page.getByRole('link', { name: 'Streams' }).click()
      await waitFor('the tile to be live again', async () => (await tile.getAttribute('data-state')) === 'live', 60_000)
      expect(complaints).toEqual([])
    } catch (error) {
      throw new Error(`${String(error)}\n${suite.system.words()}`, { cause: error })
    }
  },
)
