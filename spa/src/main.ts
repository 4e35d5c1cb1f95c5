import './styles/tokens.css'
import './styles/base.css'

import { createApp } from 'vue'

import App from './App.vue'
import { useLive } from './live'
import { router } from './router'

createApp(App).use(router).mount('#app')
void useLive().start()
