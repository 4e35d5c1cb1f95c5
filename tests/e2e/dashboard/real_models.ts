/** The real models and clips of the tests, and whether they are there. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { repository, type Service, type System } from './system'

const models = process.env.EI_TEST_MODELS ?? join(repository, '../shared/models')
const videos = process.env.EI_TEST_VIDEOS ?? join(repository, '../shared/videos')
/** Two faces. */
export const clip = join(videos, 'head-pose-face-detection-female-and-male.gif')
/** A laptop without them skips tests; CI must have them. */
export const available = existsSync(join(models, 'face-detection-retail-0005')) && existsSync(clip)
if (!available && process.env.CI)
  throw new Error('the test models and clips are missing, and CI must have them: set EI_TEST_MODELS and EI_TEST_VIDEOS')

/** Starts a pod that finds faces. */
export const inferFaces = (system: System): Service =>
  system.start('inference', 'apps/infer_service.py', {
    INFER_TYPE: 'face',
    INFER_MODEL_NAME: 'face-detection-retail-0005_FP32',
    INFER_MODEL_PATH: models,
  })

/** Plays the clip as the camera `interview`, for `inferFaces`. */
export const startInterview = (system: System, fps: number): Service =>
  system.start('file', 'apps/file_stream_service.py', {
    INFER_TYPE: 'face',
    STREAM_NAME: 'interview',
    VIDEO_FILE: clip,
    VIDEO_FPS: String(fps),
  })
