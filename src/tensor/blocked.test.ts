import { expect, it } from 'vitest';
import { products, times } from './blocked.ts';
import type { Columns } from './linalg.ts';
import { stream } from './random.ts';

const matrix = (rows: number, columns: number, seed: number): Columns => {
  const { normal } = stream(seed, 'matrix');
  return Array.from({ length: columns }, () => Float64Array.from({ length: rows }, normal));
};
const sumOf = (length: number, term: (k: number) => number): number =>
  Array.from({ length }, (_, k) => term(k)).reduce((sum, x) => sum + x, 0);

it.each([
  [5, 1, 1],
  [7, 3, 4],
  [6, 4, 5],
  [9, 8, 11],
  [0, 2, 3],
])('columns of length %d, %d against %d of them', (rows, m, n) => {
  const [x, y] = [matrix(rows, m, 1), matrix(rows, n, 2)];
  const inner = products(x, y);
  expect(inner.map((column) => column.length)).toEqual(y.map(() => m));
  for (const [j, column] of inner.entries())
    for (const [i, value] of column.entries())
      expect(value).toBeCloseTo(
        sumOf(rows, (k) => x[i]![k]! * y[j]![k]!),
        12,
      );
  const sums = times(x, inner, rows);
  expect(sums.map((column) => column.length)).toEqual(y.map(() => rows));
  for (const [j, column] of sums.entries())
    for (const [k, value] of column.entries())
      expect(value).toBeCloseTo(
        sumOf(m, (i) => x[i]![k]! * inner[j]![i]!),
        11,
      );
});
