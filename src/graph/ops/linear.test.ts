import { expect, test } from 'vitest';
import { checkGradients, floats } from '../../../tests/finite-differences.ts';
import { Graph } from '../graph.ts';
import { gemm, linear } from './linear.ts';

const x = floats([3, 4], 1);
const w = floats([5, 4], 2);

/** x·Wᵀ at one place. */
const dot = (row: number, column: number, k = 4): number =>
  Array.from({ length: k }, (_, i) => (x.data[row * k + i] as number) * (w.data[column * k + i] as number)).reduce(
    (sum, v) => sum + v,
    0,
  );

test('linear with and without a bias', async () => {
  const plain = await checkGradients((g, [vx, vw]) => linear(g, vx!, vw!), { x, w });
  expect(plain.dims).toEqual([3, 5]);
  expect(plain.data[7]).toBeCloseTo(dot(1, 2), 5);
  const b = floats([5], 3);
  const biased = await checkGradients((g, [vx, vw, vb]) => linear(g, vx!, vw!, vb), { x, w, b });
  expect(biased.data[7]).toBeCloseTo(dot(1, 2) + (b.data[2] as number), 5);
});

test('linear with a low-rank part', async () => {
  const a = floats([2, 4], 4);
  const b = floats([5, 2], 5);
  const low = await checkGradients(
    (g, [vx, vw, va, vb]) => linear(g, vx!, vw!, undefined, { a: va!, b: vb!, scale: 1.5 }),
    { x, w, a, b },
  );
  const through = [0, 1].map((r) =>
    [0, 1, 2, 3].reduce((sum, i) => sum + (x.data[4 + i] as number) * (a.data[4 * r + i] as number), 0),
  );
  const extra = 1.5 * (through[0]! * (b.data[4] as number) + through[1]! * (b.data[5] as number));
  expect(low.data[7]).toBeCloseTo(dot(1, 2) + extra, 5);
});

test('several linear layers on one input add up their gradients in Gemm', async () => {
  const v = floats([2, 4], 6);
  await checkGradients((g, [vx, vw, vv]) => linear(g, linear(g, vx!, vw!), linear(g, vv!, linear(g, vx!, vx!))), {
    x: floats([4, 4], 7),
    w: floats([4, 4], 8),
    v,
  });
});

test('matrices that do not fit are refused when the graph is built', () => {
  const g = new Graph();
  const a = g.input('a', 'float32', [2, 3]);
  expect(() => gemm(g, a, g.input('b', 'float32', [2, 3]))).toThrow('Gemm of a [2, 3] and b [2, 3] does not fit');
  expect(() => linear(g, a, g.input('w', 'float32', [2, 4]))).toThrow('a has shape [2, 3], expected [*, 4]');
});
