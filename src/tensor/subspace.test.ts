import { expect, it } from 'vitest';
import { inner, svdOfProduct, thinSvd, type Columns } from './linalg.ts';
import { stream } from './random.ts';
import { leadingSvd, leadingSvdOfProduct } from './subspace.ts';
import { products, times } from './blocked.ts';

/** 40 × 30 with singular values that fall by a third each. */
function falling(): Columns {
  const { normal } = stream(1, 'test');
  const { u, v } = thinSvd(Array.from({ length: 30 }, () => Float64Array.from({ length: 40 }, normal)));
  return Array.from({ length: 30 }, (_, c) =>
    Float64Array.from({ length: 40 }, (_, r) =>
      u.reduce((sum, column, i) => sum + column[r]! * 1.5 ** -i * v[i]![c]!, 0),
    ),
  );
}

it('finds the leading singular values and vectors of a dense matrix', () => {
  const x = falling();
  const [whole, leading] = [thinSvd(x), leadingSvd(x, 5)];
  expect([leading.u.length, leading.sigma.length, leading.v.length]).toEqual([5, 5, 5]);
  for (let i = 0; i < 5; i++) {
    expect(Math.abs(leading.sigma[i]! - whole.sigma[i]!)).toBeLessThan(1e-9);
    expect(Math.abs(inner(leading.u[i]!, whole.u[i]!))).toBeCloseTo(1, 8);
    expect(Math.abs(inner(leading.v[i]!, whole.v[i]!))).toBeCloseTo(1, 8);
  }
});

it('asks no more than there is', () => {
  const x = [Float64Array.of(3, 0), Float64Array.of(0, 4)];
  expect([...leadingSvd(x, 5).sigma].map((value) => Math.round(value * 1e9) / 1e9)).toEqual([4, 3]);
});

it('finds the best approximation of a product of thin factors that are too many for the whole SVD', () => {
  // 270 columns, as of 27 clients at rank 10, that mostly agree: a common part, and a little of each client's own.
  const { normal } = stream(2, 'test');
  const vector = (length: number, size = 1): Float64Array => Float64Array.from({ length }, () => size * normal());
  const common = Array.from({ length: 10 }, () => ({ b: vector(80), a: vector(60) }));
  const plus = (x: Float64Array): Float64Array => x.map((value) => value + 0.05 * normal());
  const all = Array.from({ length: 27 }, () => common.map(({ b, a }) => ({ b: plus(b), a: plus(a) }))).flat();
  const [b, a] = [all.map((one) => one.b), all.map((one) => one.a)];
  const [whole, leading] = [svdOfProduct(b, a), leadingSvdOfProduct(b, a, 10)];
  expect([leading.u.length, leading.sigma.length, leading.v.length]).toEqual([10, 10, 10]);
  for (let i = 0; i < 10; i++) {
    expect(leading.sigma[i]! / whole.sigma[i]!).toBeCloseTo(1, 9);
    expect(Math.abs(inner(leading.u[i]!, whole.u[i]!))).toBeCloseTo(1, 6);
    expect(Math.abs(inner(leading.v[i]!, whole.v[i]!))).toBeCloseTo(1, 6);
  }
});

it('leaves out no more of a flat spectrum’s norm than its tolerance says', () => {
  const { normal } = stream(3, 'test');
  const random = (rows: number): Columns =>
    Array.from({ length: 260 }, () => Float64Array.from({ length: rows }, normal));
  const [b, a] = [random(50), random(40)];
  const energy = (sigma: Float64Array): number => sigma.reduce((sum, x) => sum + x * x, 0);
  const whole = svdOfProduct(b, a).sigma.slice(0, 6);
  const { u, sigma, v } = leadingSvdOfProduct(b, a, 6);
  expect(energy(sigma) / energy(whole)).toBeGreaterThan(1 - 1e-4);
  expect(energy(sigma) / energy(whole)).toBeLessThan(1 + 1e-12);
  // What it gives is orthonormal, and X maps v to σ·u up to what it leaves out.
  const image = times(b, products(a, v), 50);
  for (let i = 0; i < 6; i++) expect(inner(image[i]!, u[i]!) / sigma[i]!).toBeCloseTo(1, 3);
});

it('is the whole SVD, cut, where factors are few', () => {
  const { normal } = stream(4, 'test');
  const random = (rows: number): Columns =>
    Array.from({ length: 5 }, () => Float64Array.from({ length: rows }, normal));
  const [b, a] = [random(8), random(7)];
  expect(leadingSvdOfProduct(b, a, 3).sigma).toEqual(svdOfProduct(b, a).sigma.slice(0, 3));
});
