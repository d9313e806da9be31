import { expect, it } from 'vitest';
import { inner, thinSvd, type Columns } from './linalg.ts';
import { stream } from './random.ts';
import { leadingSvd } from './subspace.ts';

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
