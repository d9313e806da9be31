import { expect, it } from 'vitest';
import { UserError } from '../errors.ts';
import { checkpointStep } from './checkpoint.ts';

it('is at that share of the steps', () => {
  for (const [at, steps, step] of [
    [0.1, 10, 1],
    [0.1, 30, 3],
    [0.1, 160, 16],
    [0.1, 14, 1],
    [0.29, 100, 29],
    [0.5, 2, 1],
    [1 / 3, 3, 1],
    [0.95, 100, 95],
  ] as const) {
    expect(checkpointStep(at, steps, 'north')).toBe(step);
  }
});

it('is never step 0, where B = 0, nor the end', () => {
  expect(() => checkpointStep(0.1, 9, 'north')).toThrow(
    /north trains 9 step\(s\), and its checkpoint at 0.1 of them would be step 0, where B = 0 .* at least 10 steps/,
  );
  expect(() => checkpointStep(0.3, 1, 'north')).toThrow(/at least 4 steps/);
  expect(() => checkpointStep(0.95, 5, 'north')).toThrow(/is the last: take an earlier one/);
  for (const at of [0, 1, -0.1, NaN]) expect(() => checkpointStep(at, 100, 'north')).toThrow(UserError);
});
