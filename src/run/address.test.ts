import { expect, test } from 'vitest';
import { forOthers } from './address.ts';

test.each([
  ['https://0.0.0.0:8470', 'https://hub:8470'],
  ['https://[::]:8470/runs/one', 'https://hub:8470/runs/one'],
  ['http://127.0.0.1:8470', 'http://127.0.0.1:8470'],
  ['https://10.0.0.0.0:1', 'https://10.0.0.0.0:1'],
  ['https://0.0.0.0.example:1', 'https://0.0.0.0.example:1'],
])('%s is for others %s', (url, known) => {
  expect(forOthers(url, 'hub')).toBe(known);
});
