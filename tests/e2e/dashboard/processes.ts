/** CPU time of processes (Linux): shows where a measurement spends its time. */
import { readdirSync, readFileSync } from 'node:fs'

const TICKS_PER_S = 100

export interface Sample {
  pid: number
  parent: number
  command: string
  cpuS: number
}

/** All processes that started under `root`, itself included. */
export function processTree(root: number): Sample[] {
  const all: Sample[] = []
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
      // The command in parentheses may contain spaces.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ')
      all.push({
        pid: Number(entry),
        parent: Number(fields[1]),
        command,
        cpuS: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S,
      })
    } catch {
      // it has ended in the meantime
    }
  }
  const wanted = new Set([root])
  for (let grew = true; grew;) {
    grew = false
    for (const one of all) {
      if (!wanted.has(one.pid) && wanted.has(one.parent)) {
        wanted.add(one.pid)
        grew = true
      }
    }
  }
  return all.filter((one) => wanted.has(one.pid))
}

/** The kind of a process, from its command line. */
export function processKind(command: string): string {
  if (command.includes('result_publisher')) return 'publisher'
  if (command.includes('websocket_server')) return 'relay'
  if (command.includes('gateway_server')) return 'gateway'
  if (command.includes('infer_service')) return 'inference'
  if (/valkey/.test(command)) return 'valkey'
  if (/chrom/.test(command)) {
    const type = /--type=([a-z-]+)/.exec(command)?.[1]
    if (type === 'renderer') return 'chromium renderer'
    if (type === 'gpu-process') return 'chromium gpu (compositor)'
    if (type === 'utility') return 'chromium utility (network)'
    return type ? `chromium ${type}` : 'chromium browser'
  }
  return 'test'
}

/** Cores used by kind between two samples, the largest first. */
export function cpuShares(before: Sample[], after: Sample[], seconds: number): [string, number][] {
  const old = new Map(before.map((one) => [one.pid, one.cpuS]))
  const shares = new Map<string, number>()
  for (const one of after) {
    const kind = processKind(one.command)
    shares.set(kind, (shares.get(kind) ?? 0) + (one.cpuS - (old.get(one.pid) ?? 0)) / seconds)
  }
  return [...shares].sort((a, b) => b[1] - a[1])
}
