import { expect, it } from 'vitest';
import { dot } from '../../tests/support/dot.ts';
import { distance, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { subtract, tensor } from '../tensor/tensors.ts';
import { beside } from './beside.ts';
import { factors, onlyA, onlyB } from './factors.ts';
import { deltaOf } from '../../tests/support/delta.ts';
import { stackAdapter } from './mix.ts';

const layout = toyLayout({ modules: 2 });
const adapter = toyAdapter(layout, 1);
const other = toyAdapter(toyLayout({ modules: 2, rank: 3, alpha: 9 }), 2);

it('feeds the sum of both products', () => {
  const point = beside(factors(), [{ adapter: other, weight: 0.25 }], 0.5).at(adapter);
  const fed = point.toFactors(point.init);
  const wide = toyLayout({ modules: 2, rank: 5, alpha: 10 });
  const expected = stackAdapter([
    { adapter, weight: 0.5 },
    { adapter: other, weight: 0.25 },
  ]);
  for (const module of ['m0', 'm1']) {
    const product = deltaOf({ layout: wide, factors: fed }, module);
    const dense = deltaOf(expected, module);
    expect(distance(product, dense)).toBeLessThan(1e-5);
  }
});

it.each([
  ['A and B', factors()],
  ['A', onlyA()],
  ['B', onlyB()],
])('has the gradient of the whole with respect to what it trains: %s', (_, inner) => {
  const point = beside(inner, [{ adapter: other, weight: 1 }], 0.5).at(adapter);
  // A loss that is linear in what the graph is fed, so that its gradient is the same everywhere.
  const fedAt = (params: Tensors): Tensors => point.toFactors(params);
  const slope = new Map(
    [...fedAt(point.init)].map(([key, { shape, data }], i) => [
      key,
      tensor(
        shape,
        randomFactors(toyLayout({ rank: 9, inFeatures: 9, outFeatures: 9 }), i)
          .get('m0.lora_A')!
          .data.slice(0, data.length),
      ),
    ]),
  );
  const moving = [...slope].filter(([key]) => inner.moves === 'AB' || key.endsWith(`lora_${inner.moves}`));
  const gradients = point.pullback(new Map(moving), point.init);
  for (const [key, { shape, data }] of point.init) {
    for (const i of [0, data.length - 1]) {
      const moved = new Map([
        ...point.init,
        [
          key,
          tensor(
            shape,
            data.map((x, j) => (i === j ? x + 1 : x)),
          ),
        ],
      ]);
      const difference = dot(slope, subtract(fedAt(moved), fedAt(point.init)));
      expect(gradients.get(key)!.data[i]).toBeCloseTo(difference, 4);
    }
  }
});

it('is the inner parametrisation itself where nothing stands beside it', () => {
  const inner = factors();
  expect(beside(inner, [])).toBe(inner);
});
