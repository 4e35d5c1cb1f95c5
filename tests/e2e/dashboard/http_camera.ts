/** A camera that serves MJPEG over HTTP, with a login. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

import type { Browser } from 'playwright-core'

const FRAME_MS = 100
const BOUNDARY = 'frame'
const FULL = 640
const SMALL = 320

export class HttpCamera {
  private constructor(
    private readonly server: Server,
    /** With the port that it listens on, without the login. */
    readonly url: string,
  ) {}

  /** Its images are made by the browser: 640x360, two that take turns; 320x180 at `smallUrl`. */
  static async start(browser: Browser, user: string, password: string): Promise<HttpCamera> {
    const full = await paint(browser, FULL)
    const small = await paint(browser, SMALL)
    const login = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
    const server = createServer((request, response) => {
      if (request.headers.authorization !== login) {
        response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="camera"' }).end()
        return
      }
      response.writeHead(200, { 'Content-Type': `multipart/x-mixed-replace; boundary=${BOUNDARY}` })
      const images = request.url === '/small' ? small : full
      let count = 0
      const timer = setInterval(() => {
        const image = images[count++ % images.length]!
        response.write(`--${BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: ${image.length}\r\n\r\n`)
        response.write(image)
        response.write('\r\n')
      }, FRAME_MS)
      response.on('close', () => clearInterval(timer))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new HttpCamera(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}/video`)
  }

  /** The address of its substream. */
  get smallUrl(): string {
    return this.url.replace('/video', '/small')
  }

  stop(): void {
    this.server.closeAllConnections()
    this.server.close()
  }
}

async function paint(browser: Browser, width: number): Promise<Buffer[]> {
  const page = await browser.newPage()
  const images = await page.evaluate(async (width) => {
    const made: string[] = []
    for (const x of [100, 300]) {
      const canvas = new OffscreenCanvas(width, (width * 9) / 16)
      const context = canvas.getContext('2d')!
      context.scale(width / 640, width / 640)
      context.fillStyle = '#456'
      context.fillRect(0, 0, 640, 360)
      context.fillStyle = '#fc0'
      context.fillRect(x, 100, 120, 160)
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/jpeg' })).arrayBuffer())
      made.push(btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')))
    }
    return made
  }, width)
  await page.close()
  return images.map((image) => Buffer.from(image, 'base64'))
}
