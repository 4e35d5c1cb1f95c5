/** Addresses of the views. Only the streams view is in the first download; the others come when they are opened. */
import { createRouter, createWebHistory } from 'vue-router'

import StreamsPage from './pages/StreamsPage.vue'

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    { path: '/', name: 'streams', component: StreamsPage, meta: { title: 'Streams' } },
    { path: '/stream/:id', name: 'stream', component: () => import('./pages/StreamPage.vue'), props: true, meta: { title: 'Stream' } },
    { path: '/compare/:name?', name: 'compare', component: () => import('./pages/ComparePage.vue'), props: true, meta: { title: 'Compare' } },
    { path: '/pool', name: 'pool', component: () => import('./pages/PoolPage.vue'), meta: { title: 'Pool' } },
    { path: '/login', name: 'login', component: () => import('./pages/LoginPage.vue'), meta: { title: 'Sign in' } },
    { path: '/:rest(.*)*', name: 'unknown', component: () => import('./pages/UnknownPage.vue'), meta: { title: 'Not found' } },
  ],
  scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
})

router.afterEach((to, from) => {
  if (to.name !== from.name) document.title = `${String(to.meta.title)} · Elastic Inference`
})
