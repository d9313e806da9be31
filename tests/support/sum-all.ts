import type { Graph } from '../../src/graph/graph.ts';
import { accumulate } from '../../src/graph/ops/basic.ts';
import type { Value } from '../../src/graph/value.ts';

/** Σ x as a scalar, with its gradient: a loss for the graphs of tests. */
export function sumAll(g: Graph, x: Value): Value {
  const sum = g.node('ReduceSum', [x], [x.dtype, []], { keepdims: { int: 0 } });
  return g.differentiable([x], sum, (d) => [
    (into) =>
      accumulate(g, into, g.node('Expand', [d, g.node('Shape', [x], ['int64', [x.shape.length]])], [x.dtype, x.shape])),
  ]);
}
