import type { Graph } from '../graph.ts';
import type { Value } from '../value.ts';
import { accumulate, plain } from './basic.ts';

/**
 * Negative log-likelihood of each target under softmax(logits): logits [m, v], targets int64 [m, 2] of (row, token) → [m, 1].
 * log Σ exp is taken as max − log(largest probability), so that it neither overflows nor underflows with one exponential per entry.
 */
export function tokenNll(g: Graph, logits: Value, targets: Value): { nll: Value; probabilities: Value } {
  const m = logits.shape[0] ?? '?';
  const largest = (x: Value): Value => g.node('ReduceMax', [x, g.int64(-1)], ['float32', [m, 1]]);
  const probabilities = g.node('Softmax', [logits], ['float32', logits.shape], { axis: { int: -1 } });
  const logTop = g.node('Log', [largest(probabilities)], ['float32', [m, 1]]);
  const logSum = plain.sub(g, largest(logits), logTop);
  const picked = plain.reshape(g, g.node('GatherND', [logits, targets], ['float32', [m]]), [-1, 1], [m, 1]);
  return { nll: plain.sub(g, logSum, picked), probabilities };
}

/** Mean negative log-likelihood over all m targets, a scalar. Gradient: (softmax − onehot)/m. */
export function crossEntropy(g: Graph, logits: Value, targets: Value): Value {
  const { nll, probabilities } = tokenNll(g, logits, targets);
  const loss = g.node('ReduceMean', [nll], ['float32', []], { keepdims: { int: 0 } });
  return g.differentiable([logits], loss, (d) => [
    (into) => {
      const hit = g.node('GatherND', [probabilities, targets], ['float32', [logits.shape[0] ?? '?']]);
      const less = plain.sub(g, hit, g.scalar(1));
      const error = g.node('ScatterND', [probabilities, targets, less], ['float32', logits.shape]);
      const rows = plain.cast(g, g.node('Size', [nll], ['int64', []]), 'float32');
      return accumulate(g, into, plain.mul(g, error, g.node('Div', [d, rows], ['float32', []])));
    },
  ]);
}
