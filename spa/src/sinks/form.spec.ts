import { expect, test } from 'vitest'

import type { SinkSpec } from '@/api/types'

import { emptyForm, formOf, placeError, quietHours, sinkBody } from './form'

const HOOK: SinkSpec = {
  name: 'hook',
  enabled: false,
  kind: 'webhook',
  url: 'https://example.org/events',
  url_secret: null,
  token: 'hook.token',
  sign: null,
  batch: 20,
  timeout_s: 5,
  kinds: ['zone'],
  phases: ['begin', 'end'],
  cameras: ['gate-1', 'gate-2'],
  types: [],
  labels: [],
  zones: ['yard'],
  quiet_hours: [{ from: '22:00', to: '06:00', timezone: 'Europe/Berlin' }],
}

test('a form that nobody has changed saves what the sink is', () => {
  const { body, errors } = sinkBody(formOf(HOOK))
  expect(errors).toEqual({})
  expect(body).toEqual({
    kind: 'webhook',
    enabled: false,
    url: 'https://example.org/events',
    token: 'hook.token',
    batch: 20,
    timeout_s: 5,
    kinds: ['zone'],
    phases: ['begin', 'end'],
    cameras: ['gate-1', 'gate-2'],
    zones: ['yard'],
    quiet_hours: [{ from: '22:00', to: '06:00', timezone: 'Europe/Berlin' }],
  })
  const home: SinkSpec = { name: 'home', kind: 'mqtt', url: 'mqtt://b:1883', discovery: false, topic: 'a', user: null }
  expect(sinkBody(formOf(home)).body).toEqual({
    kind: 'mqtt',
    enabled: true,
    url: 'mqtt://b:1883',
    discovery: false,
    topic: 'a',
  })
})

test('what the form does not show is kept', () => {
  const newer = { name: 'look', kind: 'log', colour: 'red' } as unknown as SinkSpec
  expect(sinkBody(formOf(newer)).body).toEqual({ kind: 'log', enabled: true, colour: 'red' })
  const secure: SinkSpec = { name: 'far', kind: 'redis', url: 'rediss://far:6379/0', ca_file: 'far.ca' }
  expect(sinkBody(formOf(secure)).body).toMatchObject({ ca_file: 'far.ca' })
})

test('a new one needs a name and an address, the log only a name', () => {
  expect(sinkBody(emptyForm()).errors).toEqual({ name: 'Enter a name.', url: 'Enter the address.' })
  const look = { ...emptyForm(), name: 'look', kind: 'log' as const }
  expect(sinkBody(look)).toEqual({ body: { kind: 'log', enabled: true }, errors: {} })
})

test('what cannot be sent is said', () => {
  const form = { ...formOf(HOOK), quiet: 'at night' }
  form.texts.batch = 'many'
  expect(sinkBody(form).errors).toEqual({
    batch: 'Enter a number.',
    quiet_hours: 'Write each line as 22:00-06:00 Europe/Berlin, unlike this one: at night',
  })
})

test('quiet hours are lines', () => {
  expect(quietHours('22:00-06:00 Europe/Berlin\n\n 12:00 – 13:00')).toEqual([
    { from: '22:00', to: '06:00', timezone: 'Europe/Berlin' },
    { from: '12:00', to: '13:00' },
  ])
})

test('the sentence of the server stands beside its field, or below the form', () => {
  const form = { ...emptyForm(), name: 'hook' }
  expect(placeError('url: expected a URL.', form)).toEqual({ url: 'Expected a URL.' })
  expect(placeError('quiet_hours.0.from: expected HH:MM.', form)).toEqual({ quiet_hours: 'Expected HH:MM.' })
  expect(placeError('There are 64 sinks.', form)).toEqual({ '': 'There are 64 sinks.' })
  // A field that this form does not show.
  expect(placeError('maxlen: too large.', form)).toEqual({ '': 'maxlen: too large.' })
})
