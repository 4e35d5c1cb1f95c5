/// <reference types="vitest/config" />
import { fileURLToPath } from 'node:url'

import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

// Where `npm run dev` finds a running gateway.
const gateway = process.env.EI_GATEWAY ?? 'http://127.0.0.1:31002'

export default defineConfig({
  plugins: [vue()],
  // Relative addresses: a proxy may serve the dashboard below a prefix.
  base: './',
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  build: {
    // The gateway serves this folder once it holds an index.html.
    outDir: '../apps/elastic_inference/flows/gateway/dashboard',
    emptyOutDir: true,
    target: 'es2022',
    // The gateway's CSP allows no data: scripts or styles, and small files cost little on HTTP keep-alive.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  worker: { format: 'es' },
  server: {
    proxy: {
      '/api': gateway,
      // A stream id is the path of its websocket.
      '^/[^/]+:[^/]+:inferred': { target: gateway, ws: true },
    },
  },
  test: {
    environment: 'node',
    include: ['src/**/*.spec.ts'],
    // To start a process for each file takes 20 times as long as the tests. They restore globals and timers themselves.
    pool: 'threads',
    isolate: false,
  },
})
