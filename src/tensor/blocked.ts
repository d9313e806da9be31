import type { Columns } from './linalg.ts';

/*
 * Products of many columns with many: two of one side with four of the other at a time, so that what is read from memory is used
 * often and eight sums run beside each other, where a single one would wait for each addition.
 */

/** All inner products: entry i of column j is ⟨x_i, y_j⟩. */
export function products(x: Columns, y: Columns): Columns {
  const out = y.map(() => new Float64Array(x.length));
  let j = 0;
  for (; j + 4 <= y.length; j += 4) {
    let i = 0;
    for (; i + 2 <= x.length; i += 2) inner2by4(x, i, y, j, out);
    if (i < x.length) for (let k = j; k < j + 4; k++) out[k]![i] = inner1(x[i]!, y[k]!);
  }
  for (; j < y.length; j++) for (let i = 0; i < x.length; i++) out[j]![i] = inner1(x[i]!, y[j]!);
  return out;
}

function inner2by4(x: Columns, i: number, y: Columns, j: number, out: Columns): void {
  const [u, v] = [x[i]!, x[i + 1]!];
  const [a, b, c, d] = [y[j]!, y[j + 1]!, y[j + 2]!, y[j + 3]!];
  let [ua, ub, uc, ud, va, vb, vc, vd] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let k = 0; k < u.length; k++) {
    const p = u[k]!;
    const q = v[k]!;
    ua += p * a[k]!;
    ub += p * b[k]!;
    uc += p * c[k]!;
    ud += p * d[k]!;
    va += q * a[k]!;
    vb += q * b[k]!;
    vc += q * c[k]!;
    vd += q * d[k]!;
  }
  for (const [at, upper, lower] of [
    [j, ua, va],
    [j + 1, ub, vb],
    [j + 2, uc, vc],
    [j + 3, ud, vd],
  ] as const) {
    out[at]![i] = upper;
    out[at]![i + 1] = lower;
  }
}

function inner1(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum += x[k]! * y[k]!;
  return sum;
}

/** X·W: column j is Σ_i w_j[i]·x_i, of length `rows`. */
export function times(x: Columns, w: Columns, rows: number): Columns {
  const out = w.map(() => new Float64Array(rows));
  let i = 0;
  for (; i + 4 <= x.length; i += 4) {
    let j = 0;
    for (; j + 2 <= w.length; j += 2) add4to2(out, w, j, x, i);
    if (j < w.length) add4(out[j]!, x, i, w[j]!);
  }
  for (; i < x.length; i++) for (const [j, weights] of w.entries()) add1(out[j]!, x[i]!, weights[i]!);
  return out;
}

function add4to2(out: Columns, w: Columns, j: number, x: Columns, i: number): void {
  const [one, two] = [out[j]!, out[j + 1]!];
  const [a, b, c, d] = [x[i]!, x[i + 1]!, x[i + 2]!, x[i + 3]!];
  const [p, q, r, s] = [w[j]![i]!, w[j]![i + 1]!, w[j]![i + 2]!, w[j]![i + 3]!];
  const [t, u, v, y] = [w[j + 1]![i]!, w[j + 1]![i + 1]!, w[j + 1]![i + 2]!, w[j + 1]![i + 3]!];
  for (let k = 0; k < one.length; k++) {
    const e = a[k]!;
    const f = b[k]!;
    const g = c[k]!;
    const h = d[k]!;
    one[k] = one[k]! + (p * e + q * f + (r * g + s * h));
    two[k] = two[k]! + (t * e + u * f + (v * g + y * h));
  }
}

function add4(out: Float64Array, x: Columns, i: number, weights: Float64Array): void {
  const [a, b, c, d] = [x[i]!, x[i + 1]!, x[i + 2]!, x[i + 3]!];
  const [p, q, r, s] = [weights[i]!, weights[i + 1]!, weights[i + 2]!, weights[i + 3]!];
  for (let k = 0; k < out.length; k++) out[k] = out[k]! + (p * a[k]! + q * b[k]! + (r * c[k]! + s * d[k]!));
}

function add1(out: Float64Array, x: Float64Array, weight: number): void {
  for (let k = 0; k < out.length; k++) out[k] = out[k]! + weight * x[k]!;
}
