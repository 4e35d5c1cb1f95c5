// The first download: what index.html names, gzipped. Over 300 kB the build fails.
import { readdirSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const LIMIT_KB = 300
const folder = new URL('../../apps/elastic_inference/flows/gateway/dashboard/', import.meta.url)
const index = readFileSync(new URL('index.html', folder))
const named = [...index.toString().matchAll(/(?:src|href)="\.\/(assets\/[^"]+)"/g)].map((match) => match[1])
const workers = readdirSync(new URL('assets/', folder))
  .filter((name) => /\.worker-.*\.js$/.test(name))
  .map((name) => `assets/${name}`)
const size = (path) => gzipSync(readFileSync(new URL(path, folder)), { level: 9 }).length
const first = [...new Set([...named, ...workers])]
const total = first.reduce((sum, path) => sum + size(path), gzipSync(index).length)
const all = readdirSync(new URL('assets/', folder)).reduce((sum, name) => sum + size(`assets/${name}`), 0)
const kb = (bytes) => `${(bytes / 1000).toFixed(1)} kB`
console.log(`first download ${kb(total)} gzipped (limit ${LIMIT_KB} kB), everything ${kb(all)}`)
if (total > LIMIT_KB * 1000) {
  console.error(`error: the first download is ${kb(total)}, over the limit of ${LIMIT_KB} kB`)
  process.exit(1)
}
