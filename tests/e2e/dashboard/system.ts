/** Starts the real services for a test: a private Valkey, relay, gateway, a publisher of known results, inference. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const repository = join(dirname(fileURLToPath(import.meta.url)), '../../..')
export const python = join(repository, '.venv/bin/python')

export const timeFactor = Number(process.env.EI_TEST_TIME_FACTOR ?? '1')

/** A service has ended, so waiting for it is useless. */
class EndedError extends Error {}

const shown = (value: unknown): string =>
  value instanceof Error ? `${value.message} ${value.cause ? String(value.cause) : ''}` : JSON.stringify(value)

/** Waits until `condition` returns a true value; the error after the time-out names `what` and the last value. */
export async function waitFor<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs = 15_000,
): Promise<NonNullable<T>> {
  const began = Date.now()
  const deadline = began + timeoutMs * timeFactor
  let last: unknown
  for (;;) {
    try {
      const value = await condition()
      if (value) return value
      last = value
    } catch (error) {
      if (error instanceof EndedError) throw error
      last = error
    }
    if (Date.now() > deadline)
      throw new Error(`${what} was not true within ${(timeoutMs * timeFactor) / 1000} s; last: ${shown(last)}`)
    // The pause grows with the wait: a look takes CPU time of browser and services.
    await new Promise((resolve) => setTimeout(resolve, Math.min(200, Math.max(50, (Date.now() - began) / 20))))
  }
}

/** A child process whose last lines are kept for error messages. */
export class Service {
  readonly words: string[] = []
  private constructor(
    readonly name: string,
    readonly child: ChildProcess,
  ) {}

  static start(
    name: string,
    command: string,
    args: string[],
    env: Record<string, string> = {},
    keepOutput = true,
  ): Service {
    const child = spawn(command, args, {
      cwd: repository,
      env: { ...process.env, PYTHONUNBUFFERED: '1', ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const service = new Service(name, child)
    child.on('error', (error) => service.words.push(error.message))
    for (const output of keepOutput ? [child.stdout, child.stderr] : [child.stderr]) {
      createInterface(output).on('line', (line) => {
        service.words.push(line)
        if (service.words.length > 200) service.words.shift()
      })
    }
    return service
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.running) return
    this.child.kill(signal)
    await this.ended()
  }

  /** Waits until it has ended; kills it after 15 s. */
  async ended(): Promise<void> {
    if (!this.running) return
    const ended = once(this.child, 'exit')
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 15_000)
    await ended
    clearTimeout(timer)
  }
}

interface Answer {
  ready?: boolean
  done?: string
  counts?: Record<string, number>
}

/** The publisher process and its commands. */
export class Publisher {
  private readonly answers: ((answer: Answer) => void)[] = []
  private constructor(readonly service: Service) {
    createInterface(service.child.stdout!).on('line', (line) => this.answers.shift()?.(JSON.parse(line) as Answer))
    service.child.on('exit', () => {
      for (const resolve of this.answers.splice(0)) resolve({})
    })
  }

  /** At a third of the benchmark's rate: what a frame shows does not depend on it, and painting takes much time. */
  static async start(brokerUrl: string, streams: string[], more: string[] = ['--fps', '5']): Promise<Publisher> {
    const service = Service.start(
      'publisher',
      python,
      ['tests/support/result_publisher.py', '--broker-url', brokerUrl, '--streams', streams.join(','), ...more],
      {},
      false,
    )
    const publisher = new Publisher(service)
    const first = await publisher.next()
    if (!first.ready) throw new Error(`the publisher did not start:\n${service.words.join('\n')}`)
    return publisher
  }

  private next(): Promise<Answer> {
    return new Promise((resolve) => this.answers.push(resolve))
  }

  async tell(command: Record<string, unknown>): Promise<Answer> {
    const answer = this.next()
    this.service.child.stdin!.write(`${JSON.stringify(command)}\n`)
    return answer
  }

  async counts(): Promise<Record<string, number>> {
    return (await this.tell({ do: 'counts' })).counts ?? {}
  }

  async stop(): Promise<void> {
    this.service.child.stdin!.end()
    await this.service.stop()
  }
}

const VALKEY = `
import sys
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
with EmbeddedValkey() as server:
    print("redis at", server.url, flush=True)
    sys.stdin.read()
`

export interface SystemOptions {
  token?: string
  /** The address that the gateway listens on. */
  host?: string
  /** Additional settings of the services. */
  env?: Record<string, string>
  /** What else needs the broker only, and starts beside the services. */
  beside?: (brokerUrl: string) => Promise<void>
}

/** Valkey, relay and gateway on free ports. */
export class System {
  private readonly services: Service[] = []
  brokerUrl = ''
  /** The dashboard's address, without a slash at the end. */
  url = ''
  relay!: Service
  gateway!: Service
  private environment: Record<string, string> = {}

  private constructor(private readonly host: string) {}

  static async start(options: SystemOptions = {}): Promise<System> {
    const system = new System(options.host ?? '127.0.0.1')
    try {
      await system.begin(options)
    } catch (error) {
      await system.stop()
      throw new Error(`the system did not start:\n${system.words()}`, { cause: error })
    }
    return system
  }

  private async begin({ token, env, beside }: SystemOptions): Promise<void> {
    const valkey = Service.start('valkey', python, ['-c', VALKEY])
    this.services.push(valkey)
    this.brokerUrl = (await said(valkey, /redis at (\S+)/))[1]!
    this.environment = {
      QUEUE_URL: this.brokerUrl,
      WEBSOCKET_HOST: '127.0.0.1',
      // Port 0 means any free port; the services log which.
      WEBSOCKET_PORT: '0',
      GATEWAY_HOST: this.host,
      GATEWAY_PORT: '0',
      ...(token ? { GATEWAY_TOKEN: token } : {}),
      ...env,
    }
    await Promise.all([this.startRelay().then(() => this.startGateway()), beside?.(this.brokerUrl)])
  }

  /** Starts it again on the same port after a stop. */
  async startRelay(): Promise<void> {
    this.relay = this.start('relay', 'apps/websocket_server.py')
    const port = (await said(this.relay, / at ws:\/\/[^\s/]*:(\d+)/))[1]!
    Object.assign(this.environment, { WEBSOCKET_PORT: port, WEBSOCKET_SERVER_URL: `ws://127.0.0.1:${port}` })
  }

  async startGateway(): Promise<void> {
    this.gateway = this.start('gateway', 'apps/gateway_server.py')
    const port = (await said(this.gateway, / at http:\/\/[^\s/]*:(\d+)/))[1]!
    this.environment.GATEWAY_PORT = port
    this.url = `http://127.0.0.1:${port}`
  }

  /** Starts another service with this system's Redis. */
  start(name: string, file: string, env: Record<string, string> = {}): Service {
    const service = Service.start(name, python, [file], { ...this.environment, ...env })
    this.services.push(service)
    return service
  }

  /** Redis last: the others end at once while it is there. */
  async stop(): Promise<void> {
    const [valkey, ...others] = this.services
    await Promise.all(others.map((service) => service.stop()))
    await valkey?.stop()
  }

  /** The services' last lines, for error messages. */
  words(): string {
    return this.services.map((service) => `--- ${service.name}\n${service.words.slice(-25).join('\n')}`).join('\n')
  }
}

/** Waits for the line that a service logs when it is up. */
function said(service: Service, pattern: RegExp): Promise<RegExpExecArray> {
  return waitFor(
    `${service.name}: ${pattern}`,
    () => {
      for (const line of service.words) {
        const found = pattern.exec(line)
        if (found) return found
      }
      if (!service.running) throw new EndedError(`${service.name} ended:\n${service.words.join('\n')}`)
      return null
    },
    30_000,
  )
}
