import { expect, it } from 'vitest';
import { deltaOf } from '../../../tests/support/delta.ts';
import { plainTraining } from '../../../tests/support/rounds.ts';
import { randomFactors, toyAdapter, toyLayout } from '../../../tests/toy-adapter.ts';
import { keyOfA, keyOfB } from '../../lora/adapter.ts';
import { factors } from '../../lora/factors.ts';
import { averageFactors } from '../../methods/average-factors.ts';
import type { Stage } from '../../methods/stage.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { add, addScaled, scale, subtract } from '../../tensor/tensors.ts';
import { krumChoice } from './krum.ts';
import { robustSum, type RobustRule } from './rule.ts';

const layout = toyLayout({ modules: 2 });
const start = toyAdapter(layout, 1);
const stage = averageFactors({
  name: 'federated',
  rounds: 1,
  layout,
  parametrisation: factors(),
  train: plainTraining,
  weights: 'examples',
  optimizerState: 'reset',
}) as Stage;

/** The same products from other factors: A·g and B/g, exact for powers of two. */
const turned = (ends: Tensors, gauge: number): Tensors =>
  new Map(
    [...ends].map(([key, x]) => [key, scale(new Map([['x', x]]), key.endsWith('A') ? gauge : 1 / gauge).get('x')!]),
  );

// Four clients of nearly one model in four gauges, and a fifth with another model near to one of them in its numbers.
const model = randomFactors(layout, 2);
const near = (k: number): Tensors => addScaled(model, randomFactors(layout, 10 + k), 0.01);
const ends = [
  turned(near(0), 1 / 8),
  near(1),
  turned(near(2), 8),
  turned(near(3), 64),
  addScaled(model, randomFactors(layout, 20), 0.3),
];
const updates = ends.map((end, k) => ({ client: `c${k}`, update: subtract(end, start.factors), weight: 1 + k }));
const round = {
  combined: { kind: 'each', updates },
  clients: updates.map(({ client }) => client),
  misfits: [],
} as const;
const sent = { stage, shared: start.factors, round: 0 };

/** Squared distances of the products formed out. */
function explicit(): Float64Array {
  const products = ends.map((end) => layout.modules.map(({ name }) => deltaOf({ layout, factors: end }, name).data));
  return Float64Array.from({ length: ends.length ** 2 }, (_, at) => {
    const [i, j] = [Math.floor(at / ends.length), at % ends.length];
    return products[i]!.reduce((sum, x, m) => x.reduce((all, v, n) => all + (v - products[j]![m]![n]!) ** 2, sum), 0);
  });
}

const chosen = (rule: RobustRule): number => {
  const { combined } = robustSum(round, rule, sent);
  if (combined.kind !== 'sum') throw new Error('a robust rule gives a sum');
  const single = scale(combined.sum, 1 / combined.weight);
  return updates.findIndex(({ update }) =>
    [...update].every(([key, { data }]) => data.every((x, i) => Math.abs(x - single.get(key)!.data[i]!) < 1e-5)),
  );
};

it('Krum by products takes the update that the products formed out choose, and by factors another', () => {
  const [right] = krumChoice({ count: ends.length, squared: explicit() }, 1, 1);
  expect(chosen({ rule: 'krum', bad: 1, distance: 'product' })).toBe(right);
  expect(right).toBeLessThan(4);
  // Rotated factors look far apart, so that the odd one out is among the nearest to each other.
  const keys = [keyOfA('m0'), keyOfB('m0')];
  expect([...updates[0]!.update.keys()].slice(0, 2)).toEqual(keys);
  const factorsChoose = chosen({ rule: 'krum', bad: 1 });
  expect(chosen({ rule: 'krum', bad: 1, distance: 'factors' })).toBe(factorsChoose);
  expect(factorsChoose).not.toBe(right);
});

it('Multi-Krum by products averages the four that agree', () => {
  const { combined } = robustSum(round, { rule: 'multi-krum', bad: 1, distance: 'product' }, sent);
  const four = updates.slice(0, 4).reduce((sum, { update }) => add(sum, update), scale(updates[0]!.update, 0));
  if (combined.kind !== 'sum') throw new Error('a robust rule gives a sum');
  for (const [key, { data }] of combined.sum)
    for (const [i, x] of data.entries()) expect(x).toBeCloseTo((5 / 4) * four.get(key)!.data[i]!, 3);
});
