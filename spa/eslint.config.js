/**
 * The rules for the dashboard and its browser tests. `npm run lint` starts ESLint at the repository's root, since the
 * browser tests lie outside this folder. Layout is Prettier's; types are checked by vue-tsc.
 */
import js from '@eslint/js'
import prettier from 'eslint-config-prettier'
import vue from 'eslint-plugin-vue'
import { defineConfig } from 'eslint/config'
import globals from 'globals'
import tseslint from 'typescript-eslint'

export default defineConfig(
  { ignores: ['**/node_modules/', 'spa/src/api/schema.d.ts'] },
  js.configs.recommended,
  tseslint.configs.recommended,
  vue.configs['flat/recommended'],
  {
    files: ['**/*.vue'],
    languageOptions: { globals: globals.browser, parserOptions: { parser: tseslint.parser } },
  },
  {
    // Rules that need types; only for plain TypeScript, since they take three times as long for Vue files.
    files: ['**/*.ts'],
    languageOptions: {
      parserOptions: { project: ['tsconfig.json', 'tsconfig.e2e.json'], tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
    },
  },
  { files: ['**/*.{js,mjs}'], languageOptions: { globals: globals.node } },
  {
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'max-lines': ['error', 400],
      'max-lines-per-function': ['error', 60],
      'prefer-const': 'error',
    },
  },
  prettier,
  // eslint-config-prettier turns it off; Prettier does not break comments and strings.
  { rules: { 'max-len': ['error', { code: 120, ignoreUrls: true }] } },
)
