import { describe, expect, it } from 'vitest';
import { addInnerProducts, addSquaredDistances, allPairs, gram, noPairs } from './pairwise.ts';
import { stream } from './random.ts';

const { normal } = stream(3, 'vectors');
const vectors = (count: number, length: number): Float32Array[] =>
  Array.from({ length: count }, () => Float32Array.from({ length }, normal));

const plainly = (all: readonly Float32Array[], term: (x: number, y: number) => number): number[] =>
  all.flatMap((x) =>
    all.map((y) => {
      let sum = 0;
      for (let k = 0; k < x.length; k++) sum += term(x[k]!, y[k]!);
      return sum;
    }),
  );

// One piece and several, full and not; counts that fill the tiles and that do not.
describe.each([
  [1, 5],
  [2, 1],
  [3, 20_000],
  [7, 9_001],
  [8, 40],
  [101, 350],
])('%i vectors of %i numbers', (count, length) => {
  const all = vectors(count, length);

  it('inner products are those of one pair at a time', () => {
    const right = plainly(all, (x, y) => x * y);
    const apart = gram(all).map((product, at) => Math.abs(product - right[at]!));
    expect(Math.max(...apart)).toBeLessThan(1e-9);
  });

  it('squared distances too, and over several sets of vectors they add up', () => {
    const pairs = noPairs(count);
    addSquaredDistances(pairs, all);
    addSquaredDistances(pairs, all);
    const right = plainly(all, (x, y) => (x - y) ** 2);
    const apart = allPairs(pairs).map((distance, at) => Math.abs(distance / 2 - right[at]!) / (1 + right[at]!));
    expect(Math.max(...apart)).toBeLessThan(1e-12);
  });
});

it('keeps its digits for vectors that hardly differ, far from 0', () => {
  const pairs = noPairs(2);
  addSquaredDistances(pairs, [Float64Array.of(1e8, 1), Float64Array.of(1e8 + 2 ** -20, 1)]);
  expect(allPairs(pairs)).toEqual(Float64Array.of(0, 2 ** -40, 2 ** -40, 0));
});

it('has nothing to add for vectors of no numbers', () => {
  const pairs = noPairs(2);
  addInnerProducts(pairs, [new Float32Array(0), new Float32Array(0)]);
  expect(allPairs(pairs)).toEqual(new Float64Array(4));
});
