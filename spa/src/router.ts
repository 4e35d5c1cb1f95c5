/** Addresses of the views. The first download holds only the streams view; the others are loaded when opened. */
import { createRouter, createWebHistory } from 'vue-router'

import { BASE } from './api/base'
import StreamsPage from './pages/StreamsPage.vue'

export const router = createRouter({
  history: createWebHistory(BASE),
  routes: [
    { path: '/', name: 'streams', component: StreamsPage, meta: { title: 'Streams' } },
    {
      path: '/stream/:id',
      name: 'stream',
      component: () => import('./pages/StreamPage.vue'),
      props: true,
      meta: { title: 'Stream' },
    },
    {
      path: '/compare/:name?',
      name: 'compare',
      component: () => import('./pages/ComparePage.vue'),
      props: true,
      meta: { title: 'Compare' },
    },
    {
      path: '/cameras',
      name: 'cameras',
      component: () => import('./pages/CamerasPage.vue'),
      meta: { title: 'Cameras' },
    },
    {
      path: '/cameras/new',
      name: 'new-camera',
      component: () => import('./pages/NewCameraPage.vue'),
      meta: { title: 'Add a camera' },
    },
    {
      path: '/camera/:name',
      name: 'camera',
      component: () => import('./pages/CameraPage.vue'),
      props: true,
      meta: { title: 'Camera' },
    },
    { path: '/pool', name: 'pool', component: () => import('./pages/PoolPage.vue'), meta: { title: 'Pool' } },
    { path: '/login', name: 'login', component: () => import('./pages/LoginPage.vue'), meta: { title: 'Sign in' } },
    {
      path: '/:rest(.*)*',
      name: 'unknown',
      component: () => import('./pages/UnknownPage.vue'),
      meta: { title: 'Not found' },
    },
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
