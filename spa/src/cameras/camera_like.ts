/** A camera for tests: live, with the changes given. */
import type { Camera, CameraSpec, CameraStatus } from '@/api/types'

export function cameraLike(spec: Partial<CameraSpec> = {}, status: Partial<CameraStatus> = {}): Camera {
  const name = spec.name ?? 'gate-1'
  return {
    name,
    revision: 3,
    has_login: false,
    spec: {
      name,
      url: 'rtsp://camera.example/1',
      login_secret: null,
      types: ['people'],
      fps: 15,
      width: null,
      height: null,
      quality: 80,
      size: null,
      gate: null,
      transport: 'auto',
      substream: null,
      certificate: null,
      enabled: true,
      labels: {},
      zones: [],
      lines: [],
      ...spec,
    },
    status: {
      state: 'live',
      reason: null,
      worker: 'worker-1',
      fps: 15,
      cost: 0.1,
      width: 1920,
      height: 1080,
      reconnects: 0,
      waiting_types: [],
      since_ms: 0,
      frame_ms: null,
      ...status,
    },
  }
}
