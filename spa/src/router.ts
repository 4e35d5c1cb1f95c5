/** Addresses of the views. Only the streams view is in the first download; the others come when they are opened. */
import { createRouter, createWebHistory } from 'vue-router'

import StreamsPage from './pages/StreamsPage.vue'

export const router = createRouter({
  history: createWebHistory(),
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

// A page that stays open outlives the server's version: the files of a view that it has not opened yet are then gone.
// Loading the page anew brings the new version; once, so that a server that is broken does not turn it in circles.
const RELOADED_KEY = 'ei-reloaded'
const RELOAD_PAUSE_MS = 30_000
router.onError((_error, to) => {
  let before: number
  try {
    before = Number(sessionStorage.getItem(RELOADED_KEY) ?? 0)
    sessionStorage.setItem(RELOADED_KEY, String(Date.now()))
  } catch {
    return // without storage nobody knows whether this would go in circles
  }
  if (Date.now() - before > RELOAD_PAUSE_MS) location.assign(to.fullPath)
})

router.afterEach((to, from) => {
  if (to.name !== from.name) document.title = `${String(to.meta.title)} · Elastic Inference`
})
