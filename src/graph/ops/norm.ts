import { type Graph } from '../graph.ts';
import { expectShape, type Value } from '../value.ts';
import { accumulate, once, plain } from './basic.ts';

/**
 * Root mean square norm over the last axis: x·inv·w with inv = 1/√(mean x² + ε); x [n, d], w [d].
 * Gradient: inv·(w∘dy) − x·inv³·mean(w∘dy∘x). The output is rebuilt for the backward pass, only inv [n, 1] is kept.
 */
export function rmsNorm(g: Graph, x: Value, weight: Value, epsilon: number): Value {
  expectShape('RMS norm weight', weight, [x.shape[1]]);
  const [y, inv] = g.nodes(
    'SimplifiedLayerNormalization',
    [x, weight],
    [
      ['float32', x.shape],
      ['float32', [x.shape[0] ?? '?', 1]],
    ],
    { axis: { int: -1 }, epsilon: { float: epsilon } },
  ) as [Value, Value];
  const again = once(() => plain.mul(g, plain.mul(g, x, inv), weight));
  const output: Value = { ...y, again };
  return g.differentiable([x, weight], output, (dy) => {
    return [
      (into) => {
        const t = plain.mul(g, dy, weight);
        const mean = plain.meanLast(g, plain.mul(g, t, x));
        const cube = plain.mul(g, plain.mul(g, inv, inv), inv);
        const away = plain.mul(g, x, plain.mul(g, mean, cube));
        return accumulate(g, into, plain.sub(g, plain.mul(g, t, inv), away));
      },
      (into) => {
        const rows = plain.mul(g, plain.mul(g, x, inv), dy);
        const sums = g.node('ReduceSum', [rows, g.int64(0)], ['float32', weight.shape], { keepdims: { int: 0 } });
        return accumulate(g, into, sums);
      },
    ];
  });
}
