/** Icons as SVG paths on a 16 px grid, stroked: no font, no request. */
export const ICONS = {
  full: 'M2.5 6V2.5H6M10 2.5h3.5V6M13.500 10v3.500H10M6 13.500H2.500V10',
  pause: 'M5.500 3v10M10.500 3v10',
  play: 'M4.500 2.500 13 8l-8.500 5.500z',
  camera: 'M2 5.500h2.800L6 3.500h4l1.200 2H14v7H2zM8 6.800a2.200 2.200 0 1 0 0 4.400 2.200 2.200 0 0 0 0-4.400z',
  copy: 'M5.500 5.500h8v8h-8zM10.500 5.500v-3h-8v8h3',
  check: 'm3 8.500 3.500 3.500L13 4.500',
  left: 'M10 3 5 8l5 5',
  right: 'm6 3 5 5-5 5',
  sun:
    'M8 5.200a2.800 2.800 0 1 0 0 5.600 2.800 2.800 0 0 0 0-5.600z' +
    'M8 1.500v1.200M8 13.300v1.200M1.500 8h1.200M13.300 8h1.200' +
    'M3.400 3.400l.9.9M11.700 11.700l.9.9M12.600 3.400l-.9.9M4.300 11.700l-.9.9',
  moon: 'M13 9.500A5.500 5.500 0 0 1 6.500 3 5.500 5.500 0 1 0 13 9.500z',
  out: 'M6.500 2.500h-4v11h4M10 5l3 3-3 3M13 8H6',
  wall: 'M2 2.500h5v5H2zM9 2.500h5v5H9zM2 9.500h5v4H2zM9 9.500h5v4H9z',
  close: 'm4 4 8 8M12 4l-8 8',
  filter: 'M2 4h12M4.500 8h7M6.500 12h3',
  socket: 'M6.500 9.500l3-3M7 4.500l1-1a3 3 0 0 1 4.500 4.500l-1 1M9 11.500l-1 1A3 3 0 0 1 3.500 8l1-1',
} as const

export type IconName = keyof typeof ICONS
