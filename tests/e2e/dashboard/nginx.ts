/** A real nginx in front of the gateway, with the configuration of doc/proxy.md. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { repository, Service, waitFor } from './system'

export const nginxBinary = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/bin/nginx'].find(existsSync)

/** A port below those that Linux assigns to outgoing connections, so that none of them takes it before nginx does. */
async function freePort(): Promise<number> {
  const port = 20_000 + Math.floor(Math.random() * 10_000)
  const server = createServer()
  const free = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => resolve(true))
  })
  if (!free) return freePort()
  await new Promise((resolve) => server.close(resolve))
  return port
}

export class Nginx {
  private constructor(
    /** Address of the proxy, without the prefix. */
    readonly origin: string,
    private readonly service: Service,
    private readonly folder: string,
  ) {}

  /** Passes `/ei/` to the gateway at `gatewayUrl`; `changes` are replacements in the documented configuration. */
  static async start(gatewayUrl: string, tls: boolean, changes: Record<string, string> = {}): Promise<Nginx> {
    const folder = mkdtempSync(join(tmpdir(), 'ei-nginx-'))
    const [cert, key] = [join(folder, 'site.crt'), join(folder, 'site.key')]
    const port = await freePort()
    let site = readFileSync(join(repository, 'doc/proxy.md'), 'utf8').split('```nginx\n')[1]!.split('```')[0]!
    const replaced = {
      'listen 443 ssl;': `listen 127.0.0.1:${port}${tls ? ' ssl' : ''};`,
      'ssl_certificate /etc/ssl/site.crt;': tls ? `ssl_certificate ${cert};` : '',
      'ssl_certificate_key /etc/ssl/site.key;': tls ? `ssl_certificate_key ${key};` : '',
      'http://127.0.0.1:31002': gatewayUrl,
      ...changes,
    }
    for (const [old, now] of Object.entries(replaced)) {
      if (!site.includes(old)) throw new Error(`doc/proxy.md lacks ${old}`)
      site = site.replace(old, now)
    }
    if (tls) {
      const options = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1']
      execFileSync('openssl', [...options, '-keyout', key, '-out', cert], { stdio: 'ignore' })
    }
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (kind) => `${kind}_temp_path ${folder}/${kind};`,
    )
    const file = join(folder, 'nginx.conf')
    writeFileSync(
      file,
      `daemon off;\nmaster_process off;\npid ${folder}/nginx.pid;\nevents {}\n` +
        `http {\naccess_log off;\n${paths.join('\n')}\n${site}\n}\n`,
    )
    const service = Service.start('nginx', nginxBinary!, ['-p', folder, '-c', file, '-e', 'stderr'])
    const nginx = new Nginx(`${tls ? 'https' : 'http'}://127.0.0.1:${port}`, service, folder)
    await waitFor('nginx', async () => {
      if (!service.running) throw new Error(service.words.join('\n'))
      return fetch(`http://127.0.0.1:${port}/`).then(() => true)
    })
    return nginx
  }

  async stop(): Promise<void> {
    await this.service.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
