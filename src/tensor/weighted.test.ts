import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { likeTensors } from '../../tests/arbitrary.ts';
import type { Tensors } from './tensor.ts';
import { sameBits, scale, tensor } from './tensors.ts';
import { weightedMean, weightedSum } from './weighted.ts';

const of = (...data: number[]): Tensors => new Map([['x', tensor([data.length], data)]]);
const x = (tensors: Tensors): number[] => [...tensors.get('x')!.data];

describe('weightedSum', () => {
  it('sums weight times tensor', () => {
    const sum = weightedSum([
      { tensors: of(1, 2), weight: 3 },
      { tensors: of(10, -20), weight: 0.5 },
      { tensors: of(4, 4), weight: -1 },
    ]);
    expect(x(sum)).toEqual([4, -8]);
  });

  it('accumulates in float64 and rounds once', () => {
    // 1 + 2⁻²⁴ + 2⁻²⁴ = 1 + 2⁻²³ is a float32; adding one 2⁻²⁴ at a time in float32 would stay at 1.
    const parts = [1, 2 ** -24, 2 ** -24].map((value) => ({ tensors: of(value), weight: 1 }));
    expect(x(weightedSum(parts))).toEqual([1 + 2 ** -23]);
  });

  it('adds in the given order: float64 sums of another order may differ', () => {
    const parts = [1e16, 1, -1e16].map((weight) => ({ tensors: of(1), weight }));
    expect(x(weightedSum(parts))).toEqual([0]);
    expect(x(weightedSum([parts[0]!, parts[2]!, parts[1]!]))).toEqual([1]);
  });

  it.each([1, 2, 4, 5, 6, 9, 11])(
    'is the naive sum in order, bit for bit, over blocks of any length, of %d parts',
    (count) => {
      const length = 4096 + 17;
      const parts = Array.from({ length: count }, (_, k) => ({
        tensors: of(...Array.from({ length }, (_, i) => Math.fround(Math.sin(i * (k + 1))))),
        weight: (k + 1) / 7,
      }));
      const expected = new Float32Array(length);
      for (let i = 0; i < length; i++) {
        let sum = 0;
        for (const { tensors, weight } of parts) sum += weight * tensors.get('x')!.data[i]!;
        expected[i] = sum;
      }
      expect(weightedSum(parts).get('x')!.data).toEqual(expected);
    },
  );

  it('refuses nothing at all, and shapes that differ', () => {
    expect(() => weightedSum([])).toThrow('there are no parts');
    const parts = [of(1), of(1), of(1, 2)].map((tensors) => ({ tensors, weight: 1 }));
    expect(() => weightedSum(parts)).toThrow('parts 1 and 3 of a sum do not fit each other: tensor "x" has shape [1]');
  });
});

describe('weightedMean', () => {
  it('is the toy of ALGORITHMS §0 for p = (¾, ¼)', () => {
    expect(x(weightedMean([of(1, 0), of(0, 1)].map((tensors, k) => ({ tensors, weight: [3, 1][k]! }))))).toEqual([
      0.75, 0.25,
    ]);
  });

  it('of identical parts is that part, bit for bit, whatever the weights', () => {
    const weights = fc.array(fc.double({ min: 1e-3, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(likeTensors(1), weights, ([tensors], weights) => {
        const mean = weightedMean(weights.map((weight) => ({ tensors: tensors!, weight })));
        expect(sameBits(mean, tensors!)).toBe(true);
      }),
    );
  });

  it('is the sum over its weights', () => {
    fc.assert(
      fc.property(likeTensors(3), ([a, b, c]) => {
        const parts = [a!, b!, c!].map((tensors, k) => ({ tensors, weight: [1, 3, 4][k]! }));
        // Dividing by a power of two rounds nothing above the smallest numbers.
        const [mean, sum] = [weightedMean(parts), scale(weightedSum(parts), 1 / 8)];
        for (const [name, { data }] of mean) {
          for (const [i, value] of data.entries())
            expect(Math.abs(value - sum.get(name)!.data[i]!)).toBeLessThan(1e-38);
        }
      }),
    );
  });

  it('refuses weights that make no mean', () => {
    expect(() => weightedMean([{ tensors: of(1), weight: -1 }])).toThrow('weights of at least 0, not -1');
    expect(() => weightedMean([{ tensors: of(1), weight: Number.NaN }])).toThrow('not NaN');
    expect(() => weightedMean([{ tensors: of(1), weight: 0 }])).toThrow('all are 0');
  });
});
