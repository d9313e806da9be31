import { checkPrimeSync, randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { combine, interpolateAtZero, polynomialAt, PRIME, split } from './shamir.ts';

test('the polynomial over 2³¹ − 1 has the values of its closed form', () => {
  const prime = 2n ** 31n - 1n;
  const values = [1n, 2n, 3n].map((x) => polynomialAt([123_456_789n, 111n, 222n], x, prime));
  expect(values).toEqual([123_457_122n, 123_457_899n, 123_459_120n]);
  const points = values.map((y, i) => [BigInt(i + 1), y] as const);
  expect(interpolateAtZero(points, prime)).toBe(123_456_789n);
});

test('the field is that of the least prime above 2²⁵⁶', () => {
  expect(checkPrimeSync(PRIME)).toBe(true);
  for (let other = 2n ** 256n + 1n; other < PRIME; other += 2n) expect(checkPrimeSync(other)).toBe(false);
});

const subsets = (n: number, size: number): number[][] =>
  size === 0
    ? [[]]
    : Array.from({ length: n }, (_, i) => i).flatMap((last) => subsets(last, size - 1).map((rest) => [...rest, last]));

test('any threshold of the shares give the secret, all of them too, one fewer another number', () => {
  const secret = new Uint8Array(32).fill(255);
  const shares = split(secret, 3, [7, 1, 100, 4, 52], randomBytes);
  expect(subsets(5, 3)).toHaveLength(10);
  for (const some of [...subsets(5, 3), ...subsets(5, 4), [0, 1, 2, 3, 4]])
    expect(combine(some.map((i) => shares[i]!))).toEqual(secret);
  for (const some of subsets(5, 2)) {
    let other: Uint8Array | undefined;
    try {
      other = combine(some.map((i) => shares[i]!));
    } catch (error) {
      expect((error as Error).message).toContain('do not belong together');
    }
    expect(other).not.toEqual(secret);
  }
});

test('every secret survives, whatever the threshold and the places', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uniqueArray(fc.integer({ min: 1, max: 10_000 }), { minLength: 1, maxLength: 8 }),
      fc.nat(),
      (secret, xs, t) => {
        const threshold = 1 + (t % xs.length);
        const shares = split(secret, threshold, xs, randomBytes);
        expect(combine(shares.slice(-threshold))).toEqual(secret);
      },
    ),
    { numRuns: 50 },
  );
});

test('fewer shares than the threshold are uniform: the same secret gives every value of a small field as often', () => {
  // Of all lines through the secret 3 over 7 elements, the share at 2 takes each value once.
  const seen = Array.from({ length: 7 }, (_, slope) => polynomialAt([3n, BigInt(slope)], 2n, 7n));
  expect(new Set(seen).size).toBe(7);
});

test('what makes no sense is refused', () => {
  expect(() => split(new Uint8Array(31), 1, [1], randomBytes)).toThrow('32 bytes');
  expect(() => split(new Uint8Array(32), 3, [1, 2], randomBytes)).toThrow('threshold 3');
  expect(() => split(new Uint8Array(32), 2, [1, 1], randomBytes)).toThrow('different');
  expect(() => split(new Uint8Array(32), 1, [0], randomBytes)).toThrow('at least 1');
});
