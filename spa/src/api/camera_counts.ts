/** Counters of a camera's zones and lines. */
import { call, encodePath } from './client'
import type { CameraCounts } from './types'

/** Totals, and the last hour by minute; without zones and lines both lists are empty. */
export const getCounts = (camera: string): Promise<CameraCounts> =>
  call(`api/cameras/${encodePath(camera)}/counts`, { cache: 'no-store' })
