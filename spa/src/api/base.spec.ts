import { expect, test } from 'vitest'

import { basePath } from './base'

test.each([
  [undefined, 'http://site/stream/a', '/'],
  ['./', 'http://site/', '/'],
  ['../', 'http://site/stream/a', '/'],
  ['./', 'https://site/ei/?wall=1', '/ei/'],
  ['../', 'https://site/ei/stream/a:people:inferred', '/ei/'],
  ['../../', 'https://site/a/b/compare/x/y', '/a/b/'],
  ['/ei/', 'https://site/ei', '/ei/'],
])('%s at %s is %s', (written, page, base) => {
  expect(basePath(written, page)).toBe(base)
})
