import type { Columns } from './linalg.ts';

/*
 * Products of many columns with many: four of one side at a time, so that what is read from memory is used four times and four
 * sums run beside each other, where a single one would wait for each addition.
 */

/** All inner products: entry i of column j is ⟨x_i, y_j⟩. */
export function products(x: Columns, y: Columns): Columns {
  const out = y.map(() => new Float64Array(x.length));
  let j = 0;
  for (; j + 4 <= y.length; j += 4) {
    for (let i = 0; i < x.length; i++) inner4(x[i]!, y, j, out, i);
  }
  for (; j < y.length; j++) for (let i = 0; i < x.length; i++) out[j]![i] = inner1(x[i]!, y[j]!);
  return out;
}

function inner4(x: Float64Array, y: Columns, j: number, out: Columns, i: number): void {
  const [a, b, c, d] = [y[j]!, y[j + 1]!, y[j + 2]!, y[j + 3]!];
  let [p, q, r, s] = [0, 0, 0, 0];
  for (let k = 0; k < x.length; k++) {
    const value = x[k]!;
    p += value * a[k]!;
    q += value * b[k]!;
    r += value * c[k]!;
    s += value * d[k]!;
  }
  out[j]![i] = p;
  out[j + 1]![i] = q;
  out[j + 2]![i] = r;
  out[j + 3]![i] = s;
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
  for (; i + 4 <= x.length; i += 4) for (const [j, weights] of w.entries()) add4(out[j]!, x, i, weights);
  for (; i < x.length; i++) for (const [j, weights] of w.entries()) add1(out[j]!, x[i]!, weights[i]!);
  return out;
}

function add4(out: Float64Array, x: Columns, i: number, weights: Float64Array): void {
  const [a, b, c, d] = [x[i]!, x[i + 1]!, x[i + 2]!, x[i + 3]!];
  const [p, q, r, s] = [weights[i]!, weights[i + 1]!, weights[i + 2]!, weights[i + 3]!];
  for (let k = 0; k < out.length; k++) out[k] = out[k]! + (p * a[k]! + q * b[k]! + (r * c[k]! + s * d[k]!));
}

function add1(out: Float64Array, x: Float64Array, weight: number): void {
  for (let k = 0; k < out.length; k++) out[k] = out[k]! + weight * x[k]!;
}
