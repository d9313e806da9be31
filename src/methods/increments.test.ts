import { expect, it } from 'vitest';
import { deltaOf } from '../../tests/support/delta.ts';
import { distance, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { stackAdapter } from '../lora/mix.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { mapTensors, sameBits } from '../tensor/tensors.ts';
import { gained, gainedBefore, increment, withoutGained } from './increments.ts';

// Wide and narrow modules: an identity may stand on either side.
const layouts = [
  toyLayout({ modules: 2, inFeatures: 5, outFeatures: 6 }),
  toyLayout({ modules: 2, inFeatures: 7, outFeatures: 4 }),
];
/** So many rounds, each of which added factors of rank 2. */
const logOf = (layout: (typeof layouts)[number], rounds: number): Tensors =>
  new Map(Array.from({ length: rounds }, (_, r) => [...increment(r, randomFactors(layout, r + 1))]).flat());

it.each(layouts)('adds up to the sum of all rounds’ products, by factors or as one product (case %#)', (layout) => {
  for (const rounds of [1, 2, 3, 6]) {
    const base = gained(layout, logOf(layout, rounds));
    const thin = 2 * rounds <= Math.min(layout.modules[0]!.inFeatures, layout.modules[0]!.outFeatures);
    expect(base.length).toBe(thin ? rounds : 1);
    const whole = stackAdapter(
      Array.from({ length: rounds }, (_, r) => ({ adapter: toyAdapter(layout, r + 1), weight: 1 })),
    );
    for (const { name } of layout.modules) {
      const products = deltaOf(stackAdapter(base), name);
      expect(distance(products, deltaOf(whole, name))).toBeLessThan(1e-4);
    }
    const most = Math.min(layout.modules[0]!.inFeatures, layout.modules[0]!.outFeatures);
    for (const { rank } of stackAdapter(base).layout.modules) expect(rank).toBeLessThanOrEqual(most);
  }
});

it('gives a resumed run, which reads the log anew, the same bits as one that grew round by round', () => {
  const [layout] = layouts as [(typeof layouts)[number]];
  const log = logOf(layout, 6);
  for (let rounds = 1; rounds <= 6; rounds++) gained(layout, gainedBefore(rounds, log));
  const grown = gained(layout, log)[0]!.adapter.factors;
  const read = mapTensors(log, ({ shape, data }) => ({ shape, data: data.slice() }));
  expect(sameBits(gained(layout, read)[0]!.adapter.factors, grown)).toBe(true);
});

it('tells a model’s tensors from those that the base gained', () => {
  const [layout] = layouts as [(typeof layouts)[number]];
  const model = randomFactors(layout, 9);
  const received = new Map([...model, ...logOf(layout, 2)]);
  expect(sameBits(withoutGained(received), model)).toBe(true);
  expect(gained(layout, model)).toEqual([]);
  expect(gainedBefore(1, received).size).toBe(4);
});
