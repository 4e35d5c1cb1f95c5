import { expect, test } from 'vitest'

import { cameraLike } from './camera_like'
import {
  type CameraForm,
  changedCamera,
  EMPTY_FORM,
  formOf,
  newCamera,
  parseLabels,
  placeErrors,
  probeBody,
  splitLogin,
} from './form'

const NEW: CameraForm = { ...EMPTY_FORM, name: ' gate-1 ', url: 'rtsp://camera.example/1', types: ['people'] }

test('a new camera sends only what was filled in', () => {
  expect(newCamera(NEW)).toEqual({
    body: { name: 'gate-1', url: 'rtsp://camera.example/1', types: ['people'], transport: 'auto', labels: {} },
    errors: {},
  })
  const { body } = newCamera({ ...NEW, user: 'me', password: ' p ', fps: '7.5', width: '640', labels: 'site=north' })
  expect(body).toMatchObject({
    login: { user: 'me', password: ' p ' },
    fps: 7.5,
    width: 640,
    labels: { site: 'north' },
  })
})

test.each<[Partial<CameraForm>, keyof CameraForm]>([
  [{ name: ' ' }, 'name'],
  [{ url: '' }, 'url'],
  [{ types: [] }, 'types'],
  [{ fps: 'fast' }, 'fps'],
  [{ width: '640.5' }, 'width'],
  [{ labels: 'north' }, 'labels'],
  [{ labels: 'site=a\nsite=b' }, 'labels'],
])('%j is refused at its field', (change, field) => {
  expect(Object.keys(newCamera({ ...NEW, ...change }).errors)).toEqual([field])
})

test('a change sends only what differs; null removes', () => {
  const camera = cameraLike({ labels: { site: 'north', floor: '2' }, width: 640, gate: 'motion' })
  const form = formOf(camera)
  expect(changedCamera(form, camera)).toEqual({ body: {}, errors: {} })
  const changed = { ...form, fps: '5', width: '', gate: '', labels: 'site=south', types: ['people', 'car'] }
  expect(changedCamera(changed, camera)).toEqual({
    body: { fps: 5, width: null, gate: null, labels: { site: 'south', floor: null }, types: ['people', 'car'] },
    errors: {},
  })
})

test('a kept login stays unless it is replaced or removed', () => {
  const camera = { ...cameraLike(), has_login: true }
  const form = formOf(camera)
  expect(changedCamera(form, camera).body).toEqual({})
  expect(changedCamera({ ...form, user: 'me', password: 'new' }, camera).body).toEqual({
    login: { user: 'me', password: 'new' },
  })
  expect(changedCamera({ ...form, forgetLogin: true }, camera).body).toEqual({ login: null })
  expect(probeBody(form, 'gate-1')).toMatchObject({ name: 'gate-1' })
  expect(probeBody({ ...form, forgetLogin: true }, 'gate-1')).not.toHaveProperty('name')
})

test('a substream is sent, checked and removed like an address', () => {
  const camera = cameraLike({ substream: 'rtsp://camera.example/2' })
  const form = formOf(camera)
  expect(probeBody(form, null, 'substream')).toMatchObject({ url: 'rtsp://camera.example/2' })
  expect(changedCamera({ ...form, substream: ' ' }, camera).body).toEqual({ substream: null })
  expect(newCamera({ ...NEW, substream: ' rtsp://camera.example/3 ' }).body).toMatchObject({
    substream: 'rtsp://camera.example/3',
  })
})

test('a default cannot be removed, only replaced', () => {
  const camera = cameraLike()
  expect(changedCamera({ ...formOf(camera), fps: '' }, camera).errors).toEqual({ fps: 'Enter a number.' })
})

test("the server's errors go to their fields", () => {
  const fields = {
    url: 'Expected rtsp://…',
    'login.password': 'Too long.',
    'types.1': 'Twice.',
    'labels.site': 'Too long.',
    login_secret: 'Unknown.',
    colour: 'There is no such field.',
  }
  expect(placeErrors(fields)).toEqual({
    errors: {
      url: 'Expected rtsp://…',
      password: 'Too long.',
      types: 'Twice.',
      labels: 'Too long.',
      loginSecret: 'Unknown.',
    },
    other: ['colour: There is no such field.'],
  })
})

test.each([
  ['rtsp://me:p%40ss@camera.example/1', { url: 'rtsp://camera.example/1', user: 'me', password: 'p@ss' }],
  ['http://me@10.0.0.1:8080/v?x=a@b', { url: 'http://10.0.0.1:8080/v?x=a@b', user: 'me', password: '' }],
  ['rtsp://me:50%@camera/1', { url: 'rtsp://camera/1', user: 'me', password: '50%' }],
  ['rtsp://camera.example/1?user=a@b', null],
  ['rtsp://camera.example/a@b', null],
  ['rtsp://me:secret@', null],
])('the login in %s is found', (url, found) => {
  expect(splitLogin(url)).toEqual(found)
})

test('labels may hold equal signs and be empty', () => {
  expect(parseLabels(' a = b=c \n\nd=')).toEqual({ a: 'b=c', d: '' })
  expect(parseLabels('=x')).toContain('=x')
})
