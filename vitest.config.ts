import { defineConfig } from 'vitest/config';

// `.ci/run` counts tests from a report; a person at the terminal needs none.
const report = process.env['FEDLORA_TEST_REPORT'];

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tests/**/*.test.ts', 'scripts/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 240_000,
    hookTimeout: 240_000,
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
  },
});
