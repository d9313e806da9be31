import { expect, test } from 'vitest';
import { sumAll } from '../../tests/support/sum-all.ts';
import { gradients } from './autodiff.ts';
import { Graph } from './graph.ts';
import { mul } from './ops/basic.ts';
import { linear } from './ops/linear.ts';

const nodeCount = (g: Graph): number => g.finish(() => ({ location: '', offset: 0, length: 0 })).nodes.length;

test('only what is asked for is built', () => {
  const build = () => {
    const g = new Graph();
    const x = g.input('x', 'float32', ['n', 3]);
    const w1 = g.input('w1', 'float32', [3, 3]);
    const w2 = g.input('w2', 'float32', [3, 3]);
    return { g, x, w1, w2, loss: sumAll(g, linear(g, linear(g, x, w1), w2)) };
  };
  const top = build();
  const before = nodeCount(top.g);
  gradients(top.g, top.loss, [top.w2]);
  // Shape and Expand of the sum's gradient, then one Gemm: nothing below the second layer.
  expect(nodeCount(top.g) - before).toBe(3);
  const bottom = build();
  gradients(bottom.g, bottom.loss, [bottom.w1]);
  expect(nodeCount(bottom.g) - before).toBe(4);
});

test('a wanted value that the loss does not depend on is an error', () => {
  const g = new Graph();
  const x = g.input('x', 'float32', [2]);
  const y = g.input('y', 'float32', [2]);
  expect(() => gradients(g, sumAll(g, mul(g, x, x)), [y])).toThrow('the loss does not depend on y');
});
