/**
 * The colour of a label: the same in every view, in every session and in the images that the server draws
 * (`elastic_inference/adapters/drawing.py` computes the same).
 */

/** The Okabe–Ito palette without black, which colour-blind people can tell apart. */
export const PALETTE = ['#E69F00', '#56B4E9', '#009E73', '#F0E442', '#0072B2', '#D55E00', '#CC79A7'] as const

const encoder = new TextEncoder()
const known = new Map<string, string>()
// Labels come from outside: a model with a new label per frame must not fill the memory.
const KNOWN_LIMIT = 2000

/** FNV-1a, 32 bits, over the label's UTF-8 bytes. */
export function labelHash(label: string): number {
  let value = 0x811c9dc5
  for (const byte of encoder.encode(label)) value = Math.imul(value ^ byte, 0x01000193) >>> 0
  return value
}

/** `#RRGGBB` of a label. */
export function labelColour(label: string): string {
  let colour = known.get(label)
  if (colour === undefined) {
    colour = PALETTE[labelHash(label) % PALETTE.length] as string
    if (known.size >= KNOWN_LIMIT) known.clear()
    known.set(label, colour)
  }
  return colour
}

/** Whether dark text is easier to read than white on this colour (Rec. 709 luma). */
export function wantsDarkText(colour: string): boolean {
  const value = Number.parseInt(colour.slice(1), 16)
  return 0.2126 * (value >> 16) + 0.7152 * ((value >> 8) & 255) + 0.0722 * (value & 255) > 110
}
