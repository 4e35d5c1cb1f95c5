/** A producer's JPEG on its side, with an EXIF orientation: browser, drawing and boxes show it upright. */
import { join } from 'node:path'

import type { Page } from 'playwright-core'
import { afterAll, expect, test } from 'vitest'

import { available, clip, inferFaces } from './real_models'
import { tile, useSuite } from './suite'
import { repository, Service, waitFor } from './system'

const suite = useSuite()
let producer: Service | undefined
afterAll(() => producer?.stop())

interface Seen {
  width: number
  height: number
  detections: { label: string; box: number[] }[]
}

test.skipIf(!available)(
  'an image that lies on its side is shown, inferred and drawn as the same image upright',
  { timeout: 300_000 },
  async () => {
    const { system } = suite
    // Of a first try that failed.
    await producer?.stop()
    inferFaces(system)
    const script = ['tests/support/turned_producer.py', '--queue-url', system.brokerUrl, '--type', 'face']
    producer = Service.start('producer', join(repository, '.venv/bin/python'), [...script, '--clip', clip])
    const { page, complaints } = await suite.open('/')
    try {
      for (const name of ['upright', 'turned']) {
        await waitFor(
          `${name} to be live`,
          async () => (await tile(page, `${name}:face`).getAttribute('data-state')) === 'live',
          60_000,
        )
      }
      // What the pod says of both: size and boxes.
      expectEqual(await resultOf(page, 'upright'), await resultOf(page, 'turned'))
      // What the browser paints, in a tile and at full size: images and boxes of both.
      const painted = async (name: string) =>
        (await tile(page, `${name}:face`).locator('canvas').screenshot()).toString('base64')
      await waitFor(
        'equal tiles',
        async () => {
          const apart = await difference(page, await painted('upright'), await painted('turned'))
          return apart < CLOSE || Promise.reject(new Error(`the tiles differ by ${apart}`))
        },
        60_000,
      )
      const stage = async (name: string) => {
        await page.goto(`${system.url}/stream/${name}:face:inferred`)
        await page.locator('[data-state="live"]').waitFor()
        return (await page.locator('article.stage canvas').screenshot()).toString('base64')
      }
      await waitFor(
        'equal images at full size',
        async () => {
          const apart = await difference(page, await stage('upright'), await stage('turned'))
          return apart < CLOSE || Promise.reject(new Error(`they differ by ${apart}`))
        },
        60_000,
      )
      // What the websocket server draws.
      const apart = await difference(page, await drawn('upright'), await drawn('turned'))
      expect(apart).toBeLessThan(CLOSE)
      expect(complaints).toEqual([])
    } catch (error) {
      throw new Error(`${String(error)}\n${system.words()}\n${producer.words.join('\n')}`, { cause: error })
    }
  },
)

/** Mean difference, grey levels. Two encodings of one image differ by some 2 at most; another image by far more. */
const CLOSE = 6

function expectEqual(upright: Seen, turned: Seen): void {
  expect(upright.width).toBeGreaterThan(upright.height)
  expect([turned.width, turned.height]).toEqual([upright.width, upright.height])
  expect(upright.detections.length).toBeGreaterThan(0)
  expect(turned.detections.map(({ label }) => label)).toEqual(upright.detections.map(({ label }) => label))
  for (const [index, found] of turned.detections.entries()) {
    const wanted = upright.detections[index]!.box
    expect(Math.max(...found.box.map((edge, at) => Math.abs(edge - wanted[at]!)))).toBeLessThan(0.02)
  }
}

/** The next result of a stream that has found something. */
async function resultOf(page: Page, name: string): Promise<Seen> {
  const address = `${suite.system.url.replace('http', 'ws')}/${name}:face:inferred?format=json`
  return page.evaluate(
    (url) =>
      new Promise<Seen>((resolve, reject) => {
        const socket = new WebSocket(url)
        socket.onmessage = (message: MessageEvent<string>) => {
          const found = JSON.parse(message.data) as Seen
          if (!found.detections.length) return
          found.detections.sort((one, other) => one.box[0]! - other.box[0]!)
          socket.close()
          resolve(found)
        }
        socket.onerror = () => reject(new Error(`no result at ${url}`))
      }),
    address,
  )
}

/** The stream's snapshot, in base64. */
async function drawn(name: string): Promise<string> {
  const address = `${suite.system.url}/api/streams/${name}:face:inferred/snapshot.jpg`
  // On a busy machine no frame may come in time.
  return waitFor(
    `a snapshot of ${name}`,
    async () => {
      const answer = await fetch(address)
      return answer.ok ? Buffer.from(await answer.arrayBuffer()).toString('base64') : null
    },
    60_000,
  )
}

/** Mean difference of two images, grey levels; Infinity if their sizes differ, or if nothing is painted yet. */
async function difference(page: Page, one: string, other: string): Promise<number> {
  return page.evaluate(
    async (both) => {
      const pixels: ImageData[] = []
      for (const each of both) {
        const bytes = Uint8Array.from(atob(each), (character) => character.charCodeAt(0))
        // It recognises the kind of an image by itself.
        const bitmap = await createImageBitmap(new Blob([bytes]))
        const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d')!
        context.drawImage(bitmap, 0, 0)
        pixels.push(context.getImageData(0, 0, bitmap.width, bitmap.height))
      }
      const [first, second] = pixels as [ImageData, ImageData]
      if (first.width !== second.width || first.height !== second.height) return Number.POSITIVE_INFINITY
      let [sum, darkest, brightest] = [0, 255, 0]
      for (let at = 0; at < first.data.length; at += 4)
        for (let channel = 0; channel < 3; channel += 1) {
          const level = first.data[at + channel]!
          sum += Math.abs(level - second.data[at + channel]!)
          darkest = Math.min(darkest, level)
          brightest = Math.max(brightest, level)
        }
      return brightest - darkest > 150 ? sum / (first.width * first.height * 3) : Number.POSITIVE_INFINITY
    },
    [one, other],
  )
}
