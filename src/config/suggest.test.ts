import { assert, property, string } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { closest, didYouMean, editDistance } from './suggest.ts';

describe('editDistance', () => {
  test.each([
    ['', '', 0],
    ['abc', '', 3],
    ['kitten', 'sitting', 3],
    ['rank', 'rnak', 1],
    ['ca', 'abc', 3],
  ])('%s → %s: %d', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
  });

  test('is symmetric, 0 only for equals, and at most the longer length', () => {
    assert(
      property(string({ maxLength: 12 }), string({ maxLength: 12 }), (a, b) => {
        const distance = editDistance(a, b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance === 0).toBe(a === b);
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(distance).toBeGreaterThanOrEqual(Math.abs(a.length - b.length));
      }),
    );
  });
});

test('a near word is suggested whatever its case and separators, a far one is not', () => {
  const known = ['batchSize', 'accumulate', 'rate', 'weightDecay'];
  expect(closest('batch_size', known)).toBe('batchSize');
  expect(closest('weight-decay', known)).toBe('weightDecay');
  expect(closest('rat', known)).toBe('rate');
  expect(closest('temperature', known)).toBeUndefined();
  expect(didYouMean('rat', known)).toBe('; did you mean `rate`?');
  expect(didYouMean('xyz', known)).toBe('; known: batchSize, accumulate, rate, weightDecay');
  expect(didYouMean('xyz', [])).toBe('; known: none');
});
