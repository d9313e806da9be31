import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BeyondLimit, decode, encode, fixedPoint, resolution } from './fixed-point.ts';
import { addWords, wordsOf, type Bits } from './masks.ts';

const widths: Bits[] = [32, 64];

test('the step is the finest power of two with which no sum overflows', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...widths),
      fc.integer({ min: 1, max: 100_000 }),
      fc.double({ min: 1e-6, max: 1e9, noNaN: true }),
      (bits, clients, limit) => {
        const { step } = fixedPoint(bits, clients, limit);
        expect(Number.isInteger(Math.log2(step))).toBe(true);
        const fits = (size: number): boolean => limit / size + 1 <= 2 ** (bits - 1) / clients;
        expect([fits(step), fits(step / 2)]).toEqual([true, false]);
      },
    ),
  );
});

test.each([
  // 100·(8·2²¹ + 1) < 2³¹, and 2²² would be too fine.
  [32, 100, 8, 2 ** -21],
  [64, 100, 2 ** 30, 2 ** -26],
] as const)('%i bits, %i clients, up to %d: the step is %d', (bits, clients, limit, step) => {
  const point = fixedPoint(bits, clients, limit);
  expect(point.step).toBe(step);
  expect(resolution(point)).toBe(50 * step);
});

describe.each(widths)('%i bits', (bits) => {
  test('the sum of encoded numbers is the sum to half a step a client', () => {
    const client = fc.record({
      weight: fc.double({ min: 0.5, max: 10, noNaN: true }),
      values: fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 3, maxLength: 3 }),
    });
    fc.assert(
      fc.property(fc.array(client, { minLength: 1, maxLength: 12 }), (clients) => {
        const point = fixedPoint(bits, clients.length, 80);
        const total = wordsOf(4, bits);
        for (const { weight, values } of clients) {
          const words = wordsOf(4, bits);
          encode(words, 1, values, weight, point);
          addWords(total, words, bits);
        }
        for (const [i, sum] of decode(total, 1, 3, point).entries()) {
          const exact = clients.reduce((all, { weight, values }) => all + weight * values[i]!, 0);
          // The float64 sum itself is rounded, by far less.
          expect(Math.abs(sum - exact)).toBeLessThanOrEqual(resolution(point) + 1e-12);
        }
      }),
    );
  });

  test('the largest sum there can be does not wrap around', () => {
    for (const sign of [1, -1]) {
      const point = fixedPoint(bits, 1000, 8);
      const total = wordsOf(1, bits);
      for (let i = 0; i < 1000; i++) {
        const words = wordsOf(1, bits);
        encode(words, 0, [sign], 8, point);
        addWords(total, words, bits);
      }
      expect(decode(total, 0, 1, point)[0]).toBe(sign * 8000);
    }
  });

  test('what is beyond the limit, or no number, is refused', () => {
    const point = fixedPoint(bits, 10, 8);
    const words = wordsOf(1, bits);
    expect(() => encode(words, 0, [4], 2, point)).not.toThrow();
    for (const value of [4.0001, -4.0001, NaN, Infinity])
      expect(() => encode(words, 0, [value], 2, point)).toThrow(BeyondLimit);
  });
});

test('rounding is to the nearest step, halves upwards', () => {
  const point = { bits: 64, clients: 1, limit: 100, step: 1 } as const;
  const words = wordsOf(5, 64);
  encode(words, 0, [0.5, -0.5, 1.49, -1.51, 2.5], 1, point);
  expect([...decode(words, 0, 5, point)]).toEqual([1, 0, 1, -2, 3]);
});

test('nonsense is refused', () => {
  expect(() => fixedPoint(32, 2 ** 31, 1)).toThrow('cannot hold the sum');
  expect(() => fixedPoint(32, 0, 1)).toThrow('0 clients');
  expect(() => fixedPoint(32, 1, Infinity)).toThrow('finite');
});
