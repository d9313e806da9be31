import { expect, test } from 'vitest';
import { floats, runGraph } from '../../tests/finite-differences.ts';
import { Graph } from './graph.ts';
import { mul } from './ops/basic.ts';

test('outputs: results by their own names, also twice, also of an input', async () => {
  const g = new Graph();
  const x = g.input('x', 'float32', ['n']);
  const square = mul(g, x, x);
  g.output('square', square);
  g.output('again', square);
  g.output('same', x);
  g.output('fourth', mul(g, square, square));
  const feed = floats([5], 1);
  const results = await runGraph(g, { x: feed });
  const numbers = [...(feed.data as Float32Array)];
  expect(results['square']?.data).toEqual(Float32Array.from(numbers, (v) => v * v));
  expect(results['again']?.data).toEqual(results['square']?.data);
  expect(results['same']?.data).toEqual(feed.data);
  for (const [i, v] of numbers.entries()) expect(results['fourth']?.data[i]).toBeCloseTo(v ** 4, 6);
});

test('equal constants are written once, a weight of one name is one weight', () => {
  const g = new Graph();
  expect(g.scalar(2)).toBe(g.scalar(2));
  expect(g.scalar(2)).not.toBe(g.scalar(3));
  expect(g.int64(1, 2)).not.toBe(g.constant(Int32Array.of(1, 2), [2]));
  expect(g.weight('w', 'float16', [2])).toBe(g.weight('w', 'float16', [2]));
  g.output('y', g.node('Cast', [g.weight('w', 'float16', [2])], ['float32', [2]], { to: { int: 1 } }));
  const model = g.finish((name) => ({ location: `${name}.bin`, offset: 4, length: 4 }));
  expect(model.weights).toMatchObject([{ value: { name: 'w' }, location: 'w.bin', offset: 4, length: 4 }]);
});
