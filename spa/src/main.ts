import './styles/tokens.css'
import './styles/base.css'
import './styles/cards.css'

import { createApp } from 'vue'

import { BASE } from './api/base'
import App from './App.vue'
import { useLive } from './live'
import { router } from './router'

createApp(App).use(router).mount('#app')
void useLive().start()

// The page's path changes with the route, and a relative address of the icon with it.
const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]')
if (icon) icon.href = `${BASE}favicon.svg`
