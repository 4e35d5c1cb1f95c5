/** Addresses of the views. The first download holds only the streams view; the others are loaded when opened. */
import type { Component } from 'vue'
import { createRouter, createWebHistory } from 'vue-router'

import { BASE } from './api/base'
import StreamsPage from './pages/StreamsPage.vue'

/** A view that is loaded when it is opened. The parameters of its path become its props. */
const view = (path: string, name: string, title: string, component: () => Promise<Component>) => ({
  path,
  name,
  component,
  props: true,
  meta: { title },
})

export const router = createRouter({
  history: createWebHistory(BASE),
  routes: [
    { path: '/', name: 'streams', component: StreamsPage, meta: { title: 'Streams' } },
    view('/stream/:id', 'stream', 'Stream', () => import('./pages/StreamPage.vue')),
    view('/compare/:name?', 'compare', 'Compare', () => import('./pages/ComparePage.vue')),
    view('/cameras', 'cameras', 'Cameras', () => import('./pages/CamerasPage.vue')),
    view('/cameras/new', 'new-camera', 'Add a camera', () => import('./pages/NewCameraPage.vue')),
    view('/camera/:name', 'camera', 'Camera', () => import('./pages/CameraPage.vue')),
    view('/camera/:name/zones', 'zones', 'Zones and lines', () => import('./pages/ZonesPage.vue')),
    view('/events', 'events', 'Events', () => import('./pages/EventsPage.vue')),
    view('/sinks', 'sinks', 'Sinks', () => import('./pages/SinksPage.vue')),
    view('/sinks/new', 'new-sink', 'Add a sink', () => import('./pages/NewSinkPage.vue')),
    view('/sink/:name', 'sink', 'Sink', () => import('./pages/SinkPage.vue')),
    view('/pool', 'pool', 'Pool', () => import('./pages/PoolPage.vue')),
    view('/login', 'login', 'Sign in', () => import('./pages/LoginPage.vue')),
    { ...view('/:rest(.*)*', 'unknown', 'Not found', () => import('./pages/UnknownPage.vue')), props: false },
  ],
  scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
})

// After an update of the server, an open page cannot load views of its own version any more. Reloading gets the new
// version; at most once in a while, so that a broken server does not cause an endless loop.
const RELOADED_KEY = 'ei-reloaded'
const RELOAD_PAUSE_MS = 30_000
router.onError((_error, to) => {
  let before: number
  try {
    before = Number(sessionStorage.getItem(RELOADED_KEY) ?? 0)
    sessionStorage.setItem(RELOADED_KEY, String(Date.now()))
  } catch {
    return // without storage a loop could not be detected
  }
  if (Date.now() - before > RELOAD_PAUSE_MS) location.assign(router.resolve(to.fullPath).href)
})

router.afterEach((to, from) => {
  if (to.name !== from.name) document.title = `${String(to.meta.title)} · Elastic Inference`
})
