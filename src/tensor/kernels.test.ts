import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { products, times } from './blocked.ts';
import { BLOCK, kernels, place, STRIDE, WIDTH } from './kernels.ts';
import { transposed } from './linalg.ts';
import { addSquaredDistances, allPairs, gram, noPairs } from './pairwise.ts';

type Vectors = readonly Float64Array[];

/** Whole numbers up to 1000: every sum is exact, in whatever order, and a wrong row or place is another number. */
const vectors = (count: number, length: number, seed: number): Float64Array[] =>
  Array.from({ length: count }, (_, i) =>
    Float64Array.from({ length }, (_, k) => ((((i + 1) * 7919 + (k + 1) * 104_729) * (seed + 1)) % 2001) - 1000),
  );

/** Σ over k of a term of x_i and y_j at k, for each y all x, one after the other. */
function plainly(x: Vectors, y: Vectors, term: (p: number, q: number) => number): number[] {
  const out: number[] = [];
  for (const other of y) {
    for (const one of x) {
      let sum = 0;
      for (let k = 0; k < one.length; k++) sum += term(one[k]!, other[k]!);
      out.push(sum);
    }
  }
  return out;
}

/** The first place where they differ, -1 where nothing does. */
function difference(found: Vectors, right: readonly number[]): number {
  const all = found.flatMap((column) => [...column]);
  return all.length === right.length ? all.findIndex((value, i) => value !== right[i]) : all.length;
}

// Edges: an odd length, a full piece, its neighbours, two pieces; a pair of rows, four, a block, and one more or less of each.
const length = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(WIDTH - 1, WIDTH, WIDTH + 1, 2 * WIDTH + 1));
const count = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(BLOCK - 1, BLOCK, BLOCK + 1));
const seed = fc.integer({ min: 0, max: 1000 });

it('is what three plain loops give, exactly where no sum is rounded', () => {
  fc.assert(
    fc.property(length, count, fc.integer({ min: 1, max: 6 }), seed, (length, many, few, seed) => {
      const [x, y, weights] = [
        vectors(many, length, seed),
        vectors(few, length, seed + 1),
        vectors(few, many, seed + 2),
      ];
      expect(
        difference(
          [gram(x)],
          plainly(x, x, (p, q) => p * q),
        ),
      ).toBe(-1);
      const pairs = noPairs(many);
      addSquaredDistances(pairs, x);
      expect(
        difference(
          [allPairs(pairs)],
          plainly(x, x, (p, q) => (p - q) ** 2),
        ),
      ).toBe(-1);
      expect(
        difference(
          products(x, y),
          plainly(x, y, (p, q) => p * q),
        ),
      ).toBe(-1);
      const sums = plainly(transposed(x, length), weights, (p, q) => p * q);
      expect(difference(times(x, weights, length), sums)).toBe(-1);
    }),
    { numRuns: 30 },
  );
});

it('takes nothing over from what lay in its memory before, NaN and infinity included', () => {
  const [x, weights] = [vectors(3, 5, 1), vectors(1, 3, 2)];
  for (const left of [Number.NaN, Number.POSITIVE_INFINITY]) {
    kernels(64 * STRIDE).room.fill(left);
    expect(
      difference(
        [gram(x)],
        plainly(x, x, (p, q) => p * q),
      ),
    ).toBe(-1);
    kernels(64 * STRIDE).room.fill(left);
    expect(
      difference(
        times(x, weights, 5),
        plainly(transposed(x, 5), weights, (p, q) => p * q),
      ),
    ).toBe(-1);
  }
});

it('grows its memory and has rows apart from each other', () => {
  const { room } = kernels(40_000);
  expect(room.length).toBeGreaterThanOrEqual(40_000);
  expect(place(room, STRIDE, [Float32Array.of(1, 2, 3)], 0, 2)).toBe(32);
  expect([...room.subarray(STRIDE, STRIDE + 4)]).toEqual([1, 2, 3, 0]);
  expect(room.subarray(2 * STRIDE, 3 * STRIDE).every((value) => value === 0)).toBe(true);
});
