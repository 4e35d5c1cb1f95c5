/** Columns and rows that show `count` tiles of 16:9 as large as the space allows. Pure. */
export function wallGrid(count: number, width: number, height: number): { columns: number; rows: number } {
  let best = { columns: 1, rows: Math.max(1, count) }
  let bestArea = -1
  for (let columns = 1; columns <= Math.max(1, count); columns += 1) {
    const rows = Math.max(1, Math.ceil(count / columns))
    const tileWidth = Math.min(width / columns, ((height / rows) * 16) / 9)
    const area = (tileWidth * tileWidth * 9) / 16
    // Of equally large ones, the one with fewer empty cells.
    if (area > bestArea + 0.5) {
      best = { columns, rows }
      bestArea = area
    }
  }
  return best
}
