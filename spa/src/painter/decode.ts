/**
 * Decodes a JPEG for a canvas, at about the size at which it is shown.
 *
 * `ImageDecoder` exists only in secure contexts (https or localhost). It scales while it decodes and gives YUV planes,
 * which takes a third of the time of `createImageBitmap` with a resize: 1.0 instead of 2.6 ms of CPU for 768x432 in a
 * tile of 306 px (Chromium 156 without a GPU). Elsewhere `createImageBitmap` is used. Both work off this thread.
 */
import type { Area } from './boxes'

export interface Drawable {
  readonly source: ImageBitmap | VideoFrame
  readonly width: number
  readonly height: number
}

interface Decoder {
  decode(): Promise<{ image: VideoFrame }>
  close(): void
}
interface DecoderOptions {
  data: Uint8Array<ArrayBuffer>
  type: string
  desiredWidth?: number
  desiredHeight?: number
}
// TypeScript's DOM library does not declare it yet.
const scope = globalThis as unknown as { ImageDecoder?: new (options: DecoderOptions) => Decoder }

/** The smallest scale of 1, 1/2, 1/4 and 1/8 that covers the area: JPEGs decode fast at these scales. */
export function decodeScale(width: number, height: number, area: Pick<Area, 'width' | 'height'>): number {
  let scale = 1
  while (scale > 1 / 8 && (width * scale) / 2 >= area.width && (height * scale) / 2 >= area.height) scale /= 2
  return scale
}

/** Rejects if the bytes are not a valid JPEG. The caller must close `source`. */
export async function decodeImage(
  jpeg: Uint8Array<ArrayBuffer>,
  width: number,
  height: number,
  area: Area,
): Promise<Drawable> {
  if (scope.ImageDecoder) {
    const scale = decodeScale(width, height, area)
    const decoder = new scope.ImageDecoder({
      data: jpeg,
      type: 'image/jpeg',
      ...(scale < 1 ? { desiredWidth: Math.ceil(width * scale), desiredHeight: Math.ceil(height * scale) } : {}),
    })
    try {
      const { image } = await decoder.decode()
      return { source: image, width: image.displayWidth, height: image.displayHeight }
    } finally {
      decoder.close()
    }
  }
  const blob = new Blob([jpeg], { type: 'image/jpeg' })
  // If the area is about as large as the frame or larger, the canvas scales while painting.
  const bitmap =
    area.width < width * 0.75
      ? await createImageBitmap(blob, {
          resizeWidth: area.width,
          resizeHeight: area.height,
          resizeQuality: area.width >= width * 0.4 ? 'low' : 'medium',
        })
      : await createImageBitmap(blob)
  return { source: bitmap, width: bitmap.width, height: bitmap.height }
}
