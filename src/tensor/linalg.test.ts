import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stream } from './random.ts';
import {
  columnsOf,
  combination,
  fromColumns,
  fromRows,
  inner,
  rowsOf,
  solveRows,
  svdOfProduct,
  thinQr,
  thinSvd,
  transposed,
  type Columns,
} from './linalg.ts';
import { tensor } from './tensors.ts';

const random = (rows: number, columns: number, seed: number): Columns => {
  const { normal } = stream(seed, 'matrix');
  return Array.from({ length: columns }, () => Float64Array.from({ length: rows }, normal));
};
/** X·Y by columns. */
const product = (x: Columns, y: Columns): Columns => y.map((column) => combination(x, column));
const difference = (x: Columns, y: Columns): number =>
  Math.max(0, ...x.flatMap((column, c) => [...column].map((value, r) => Math.abs(value - y[c]![r]!))));
const identityError = (x: Columns): number =>
  Math.max(0, ...x.flatMap((a, i) => x.map((b, j) => Math.abs(inner(a, b) - (i === j ? 1 : 0)))));
const sizes = fc.record({
  rows: fc.integer({ min: 1, max: 9 }),
  columns: fc.integer({ min: 1, max: 9 }),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

describe('thinQr', () => {
  it('gives Q·R back, with Q orthonormal and R upper triangular', () => {
    fc.assert(
      fc.property(sizes, ({ rows, columns, seed }) => {
        const x = random(rows, columns, seed);
        const { q, r } = thinQr(x);
        expect(q.length).toBe(Math.min(rows, columns));
        expect(difference(product(q, r), x)).toBeLessThan(1e-13 * 10);
        expect(identityError(q)).toBeLessThan(1e-13);
        for (const [c, column] of r.entries()) expect(column.slice(c + 1).every((value) => value === 0)).toBe(true);
      }),
    );
  });
  it('keeps Q orthonormal for columns that depend on each other, and for zeros', () => {
    const [a] = random(6, 1, 1);
    const { q, r } = thinQr([a!, a!.map((value) => 2 * value), new Float64Array(6)]);
    expect(identityError(q)).toBeLessThan(1e-13);
    expect(difference(product(q, r).slice(0, 1), [a!])).toBeLessThan(1e-13);
  });
});

describe('thinSvd', () => {
  it('gives U·Σ·Vᵀ back, U and V orthonormal, singular values falling', () => {
    fc.assert(
      fc.property(sizes, ({ rows, columns, seed }) => {
        const x = random(rows, columns, seed);
        const { u, sigma, v } = thinSvd(x);
        const scaled = u.map((column, i) => column.map((value) => value * sigma[i]!));
        expect(difference(product(scaled, transposed(v, columns)), x)).toBeLessThan(1e-12);
        expect(identityError(u)).toBeLessThan(1e-12);
        expect(identityError(v)).toBeLessThan(1e-12);
        for (let i = 1; i < sigma.length; i++) expect(sigma[i]!).toBeLessThanOrEqual(sigma[i - 1]!);
      }),
    );
  });
  it('finds a known spectrum, small values to relative precision', () => {
    const known = [3, 1, 1e-3, 1e-9];
    const [u, v] = [thinQr(random(7, 4, 2)).q, thinQr(random(5, 4, 3)).q];
    const x = product(
      u.map((column, i) => column.map((value) => value * known[i]!)),
      transposed(v, 5),
    );
    const { sigma } = thinSvd(x);
    for (const [i, value] of known.entries()) expect(Math.abs(sigma[i]! - value)).toBeLessThan(1e-15 + 1e-6 * value);
  });
  it('has zero vectors past the rank', () => {
    const [a] = random(5, 1, 4);
    const { u, sigma, v } = thinSvd([a!, a!, a!]);
    expect(sigma[0]).toBeCloseTo(Math.sqrt(3 * inner(a!, a!)), 12);
    expect(sigma.slice(1)).toEqual(Float64Array.of(0, 0));
    for (const i of [1, 2]) expect([...u[i]!, ...v[i]!].every((value) => value === 0)).toBe(true);
    expect([...thinSvd([new Float64Array(2)]).sigma]).toEqual([0]);
  });
});

describe('svdOfProduct', () => {
  it('is the SVD of the dense product', () => {
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 12 }), ({ rows, columns, seed }, between) => {
        const [b, a] = [random(rows, between, seed), random(columns, between, seed + 1)];
        const dense = thinSvd(product(b, transposed(a, columns)));
        const thin = svdOfProduct(b, a);
        for (let i = 0; i < Math.max(dense.sigma.length, thin.sigma.length); i++) {
          expect(Math.abs((dense.sigma[i] ?? 0) - (thin.sigma[i] ?? 0))).toBeLessThan(1e-11);
        }
        const scaled = thin.u.map((column, i) => column.map((value) => value * thin.sigma[i]!));
        const back = product(scaled, transposed(thin.v, columns));
        expect(difference(back, product(b, transposed(a, columns)))).toBeLessThan(1e-11);
      }),
    );
  });
});

describe('solveRows', () => {
  it('solves X·S = Y', () => {
    const c = random(6, 4, 5);
    const s = c.map((x) => Float64Array.from(c, (y) => inner(x, y)));
    const y = random(4, 3, 6);
    const x = solveRows(y, s);
    for (const [i, row] of x.entries()) expect(difference([combination(s, row)], [y[i]!])).toBeLessThan(1e-10);
  });
  it('refuses a matrix that is not positive definite', () => {
    const zero = [new Float64Array(2), new Float64Array(2)];
    expect(() => solveRows(zero, zero)).toThrow('not positive definite');
  });
});

it('goes between tensors and columns or rows', () => {
  const x = tensor([2, 3], [1, 2, 3, 4, 5, 6]);
  expect(columnsOf(x).map((column) => [...column])).toEqual([
    [1, 4],
    [2, 5],
    [3, 6],
  ]);
  expect(rowsOf(x).map((row) => [...row])).toEqual([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  expect(fromColumns(columnsOf(x), 2)).toEqual(x);
  expect(fromRows(rowsOf(x), 3)).toEqual(x);
});
