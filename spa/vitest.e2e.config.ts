import { fileURLToPath } from 'node:url'

import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Vitest starts with the largest files. These are small, and would keep one worker busy while the others are done. */
const SMALL_BUT_SLOW = ['mqtt', 'pipeline']

class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isSlow = ({ moduleId }: TestSpecification): boolean =>
      SMALL_BUT_SLOW.some((name) => moduleId.endsWith(`/${name}.e2e.ts`))
    return [...sorted.filter(isSlow), ...sorted.filter((file) => !isSlow(file))]
  }
}

// The tests live beside the project's other end-to-end tests, their tools in this folder's node_modules.
export default defineConfig({
  root: here('..'),
  cacheDir: here('./node_modules/.vite-e2e'),
  resolve: {
    alias: {
      '@': here('./src'),
      'playwright-core': here('./node_modules/playwright-core/index.mjs'),
      'axe-core': here('./node_modules/axe-core/axe.js'),
    },
  },
  test: {
    include: [process.env.EI_E2E_INCLUDE ?? 'tests/e2e/dashboard/*.e2e.ts'],
    // Most of the time a test waits; each file has its own services and browser.
    maxWorkers: 3,
    // What all files import (Playwright, axe) takes longer to load than most files' services. They share nothing else.
    isolate: false,
    sequence: { sequencer: SlowFirst },
    // A busy machine can make a test late. One that fails runs once more, and the report says so (retry x1).
    retry: 1,
    testTimeout: 60_000,
    hookTimeout: 90_000,
    reporters: ['default'],
  },
})
