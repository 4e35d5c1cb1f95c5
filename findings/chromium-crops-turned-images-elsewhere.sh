#!/usr/bin/env bash
# One would guess: createImageBitmap(source, x, y, width, height) cuts out the part that drawImage with the same numbers
# shows, since both count from the upper left corner of the picture as it is seen.
# What happens (Chromium 156 with playwright-core 1.65.1, November 2026): not for JPEG whose EXIF orientation is 6 or 8,
# a camera held upright: it counts from the wrong end of the picture's long side, so that the upper half of the picture
# gives its lower half, without an error. It is so for a Blob, an <img>, and even an ImageBitmap of the whole picture,
# which is right when it is drawn. The other orientations are cut right, 5 and 7 among them, so that a test with
# orientation 3 shows nothing.
# Remedy: createImageBitmap of the whole, and drawImage with the part.
set -euo pipefail
for chromium in chromium chromium-browser google-chrome ""; do
    if [[ -z $chromium ]]; then
        echo "this needs Chromium: apt-get install chromium" >&2
        exit 2
    fi
    if command -v "$chromium" >/dev/null; then break; fi
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund playwright-core@1.65.1 >/dev/null
cat >crop.js <<'JAVASCRIPT'
const assert = require('node:assert')
const { chromium } = require('playwright-core')

// Runs in the page. Quadrants of a picture of 64x32: red, green / blue, yellow.
async function inPage() {
  const COLOURS = { r: 'rgb(255 0 0)', g: 'rgb(0 255 0)', b: 'rgb(0 0 255)', y: 'rgb(255 255 0)' }
  const stored = new OffscreenCanvas(64, 32)
  const pen = stored.getContext('2d')
  Object.values(COLOURS).forEach((colour, n) => {
    pen.fillStyle = colour
    pen.fillRect((n % 2) * 32, Math.floor(n / 2) * 16, 32, 16)
  })
  const plain = new Uint8Array(await (await stored.convertToBlob({ type: 'image/jpeg', quality: 1 })).arrayBuffer())

  const turned = (orientation) => {
    // After the start of the image: APP1 with one EXIF entry, the orientation.
    const exif = [0xff, 0xe1, 0, 34, 69, 120, 105, 102, 0, 0, 77, 77, 0, 42, 0, 0, 0, 8, 0, 1]
    exif.push(1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0)
    return new Blob([plain.slice(0, 2), new Uint8Array(exif), plain.slice(2)], { type: 'image/jpeg' })
  }
  const quadrants = (source, x, y, width, height) => {
    const canvas = new OffscreenCanvas(width, height)
    const context = canvas.getContext('2d')
    context.drawImage(source, x, y, width, height, 0, 0, width, height)
    return [[1, 1], [3, 1], [1, 3], [3, 3]].map(([column, row]) => {
      const [r, g, b] = context.getImageData((width * column) / 4, (height * row) / 4, 1, 1).data
      return b > 128 ? 'b' : r > 128 ? (g > 128 ? 'y' : 'r') : g > 128 ? 'g' : '.'
    }).join('')
  }
  const found = []
  for (let orientation = 1; orientation <= 8; orientation++) {
    const blob = turned(orientation)
    const whole = await createImageBitmap(blob)
    const element = new Image()
    element.src = URL.createObjectURL(blob)
    await element.decode()
    const { width, height } = whole
    // The upper half: drawn from the whole, which is right, and cut out of each source
    const half = [0, 0, width, height / 2]
    const cut = async (source) => quadrants(await createImageBitmap(source, ...half), ...half)
    found.push({
      orientation, size: `${width}x${height}`, whole: quadrants(whole, 0, 0, width, height),
      drawn: quadrants(whole, ...half), blob: await cut(blob), element: await cut(element),
      bitmap: await cut(whole),
    })
  }
  return found
}

async function main() {
  const browser = await chromium.launch({ executablePath: process.argv[2], args: ['--no-sandbox'] })
  try {
    console.log('Chromium', browser.version())
    const page = await browser.newPage()
    const found = await page.evaluate(inPage)
    for (const each of found) {
      const { orientation, size, whole, drawn, blob, element, bitmap } = each
      const lower = whole.slice(2).repeat(2)
      console.log(`orientation ${orientation}: ${size} ${whole}, upper half: drawn ${drawn}, cut out of`,
        `the blob ${blob}, the <img> ${element}, the bitmap ${bitmap}`)
      assert.equal(whole, ['rgby', 'gryb', 'ybgr', 'byrg', 'rbgy', 'bryg', 'ygbr', 'gyrb'][orientation - 1])
      assert.equal(drawn, whole.slice(0, 2).repeat(2), 'drawImage cuts elsewhere now')
      const expected = orientation === 6 || orientation === 8 ? lower : drawn
      assert.deepEqual([blob, element, bitmap], [expected, expected, expected], 'the behaviour has changed')
    }
    console.log('as described: with orientation 6 and 8 the other half is cut out')
  } finally {
    await browser.close()
  }
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
JAVASCRIPT
node crop.js "$(command -v "$chromium")"
