/** Saves a tile's frame as a JPEG, named by stream, type and time. False before the first frame. */
import type { usePainter } from '@/painter/painter'

export async function saveSnapshot(
  painter: Pick<ReturnType<typeof usePainter>, 'snapshot'>,
  tile: number,
  stream: { name: string; type: string },
): Promise<boolean> {
  const jpeg = await painter.snapshot(tile)
  if (!jpeg) return false
  const address = URL.createObjectURL(jpeg)
  const link = document.createElement('a')
  link.href = address
  link.download = `${stream.name}-${stream.type}-${new Date().toISOString().replace(/[:.]/g, '-')}.jpg`
  link.click()
  // By then the browser has read the blob.
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
  return true
}
