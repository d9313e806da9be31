import { expect, test } from 'vitest';
import { checkGradients, floats, runGraph } from '../../../tests/finite-differences.ts';
import { Graph } from '../graph.ts';
import { crossEntropy, tokenNll } from './loss.ts';

const targets = (...tokens: number[]) =>
  ({
    type: 'int64',
    dims: [tokens.length, 2],
    data: BigInt64Array.from(tokens.flatMap((token, row) => [BigInt(row), BigInt(token)])),
  }) as const;

test('cross-entropy: value and gradient', async () => {
  const logits = floats([3, 7], 1);
  const feeds = { targets: targets(4, 0, 4) };
  const loss = await checkGradients(
    (g, [value]) => crossEntropy(g, value!, g.input('targets', 'int64', ['m', 2])),
    { logits },
    feeds,
  );
  const nll = [4, 0, 4].map((token, row) => {
    const x = (logits.data as Float32Array).subarray(7 * row, 7 * row + 7);
    return Math.log(x.reduce((sum, v) => sum + Math.exp(v), 0)) - (x[token] as number);
  });
  expect(loss.data[0]).toBeCloseTo((nll[0]! + nll[1]! + nll[2]!) / 3, 5);
});

test('far apart logits neither overflow nor lose the unlikely target', async () => {
  const g = new Graph();
  const logits = g.input('logits', 'float32', ['m', 3]);
  g.output('nll', tokenNll(g, logits, g.input('targets', 'int64', ['m', 2])).nll);
  const { nll } = await runGraph(g, {
    logits: { type: 'float32', dims: [2, 3], data: Float32Array.of(500, -500, 0, -1000, -1000, -2000) },
    targets: targets(1, 0),
  });
  expect(nll?.data[0]).toBe(1000);
  expect(nll?.data[1]).toBeCloseTo(Math.log(2), 4);
});
