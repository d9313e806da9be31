import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deltaOf } from '../../tests/support/delta.ts';
import { distance, matrix, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { add, addScaled, scale, subtract, zeros } from '../tensor/tensors.ts';
import { weightedMean, weightedSum } from '../tensor/weighted.ts';
import { type Adapter, type AdapterMix, keyOfA, keyOfB } from './adapter.ts';
import { requireFactors } from './check.ts';
import { mergeModule } from './merge.ts';
import { stack, stackAdapter } from './mix.ts';

const one = (t: Tensor): ReadonlyMap<string, Tensor> => new Map([['x', t]]);
const deltas = (adapter: Adapter): ReadonlyMap<string, Tensor> =>
  new Map(adapter.layout.modules.map(({ name }) => [name, deltaOf(adapter, name)]));
const sumOf = (mix: AdapterMix): ReadonlyMap<string, Tensor> =>
  weightedSum(mix.map(({ adapter, weight }) => ({ tensors: deltas(adapter), weight })));
const farthest = (a: ReadonlyMap<string, Tensor>, b: ReadonlyMap<string, Tensor>): number =>
  Math.max(...[...a].map(([key, t]) => distance(t, b.get(key))));

/** The toy T of ALGORITHMS §0: two clients of rank 1 on a 2 × 2 module, s = 1. */
const toyT = (a: number[], b: number[]): Adapter => ({
  layout: toyLayout({ rank: 1, alpha: 1, inFeatures: 2, outFeatures: 2 }),
  factors: new Map([
    [keyOfA('m0'), matrix([a])],
    [keyOfB('m0'), matrix(b.map((v) => [v]))],
  ]),
});
const clients = [
  { adapter: toyT([1, 0], [1, 0]), weight: 0.75 },
  { adapter: toyT([0, 1], [0, 1]), weight: 0.25 },
];

describe('stackAdapter', () => {
  it('is exact on the toy of ALGORITHMS §0, where averaging factors is not', () => {
    const stacked = stackAdapter(clients);
    expect(deltaOf(stacked, 'm0')).toEqual(
      matrix([
        [0.75, 0],
        [0, 0.25],
      ]),
    );
    expect(stacked.factors.get(keyOfA('m0'))).toEqual(
      matrix([
        [1, 0],
        [0, 1],
      ]),
    );
    const mean = weightedMean(clients.map(({ adapter, weight }) => ({ tensors: adapter.factors, weight })));
    const averaged = deltaOf({ layout: clients[0]!.adapter.layout, factors: mean }, 'm0');
    expect(averaged).toEqual(
      matrix([
        [0.5625, 0.1875],
        [0.1875, 0.0625],
      ]),
    );
    // The residual identity M/s − B̄Ā = Σ p (B − B̄)(A − Ā), here .1875·[[1, −1], [−1, 1]].
    const centred = clients.map(({ adapter, weight }) => ({
      adapter: { layout: adapter.layout, factors: subtract(adapter.factors, mean) },
      weight,
    }));
    expect(deltaOf(stackAdapter(centred), 'm0')).toEqual(
      matrix([
        [0.1875, -0.1875],
        [-0.1875, 0.1875],
      ]),
    );
  });

  it('has the sum of products, at any ranks, scales and weights, in the first adapter’s scale', () => {
    const rank = fc.integer({ min: 1, max: 5 });
    const part = fc.record({
      rank,
      alpha: fc.integer({ min: 1, max: 40 }),
      weight: fc.float({ noNaN: true, min: -2, max: 2 }),
    });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), fc.integer(), (parts, seed) => {
        const mix = parts.map(({ rank, alpha, weight }, i) => ({
          adapter: toyAdapter(toyLayout({ modules: 2, rank, alpha }), seed + i),
          weight,
        }));
        const stacked = stackAdapter(mix);
        requireFactors(stacked);
        expect(farthest(deltas(stacked), sumOf(mix))).toBeLessThan(2e-3);
        for (const [m, { scale, rank, alpha }] of stacked.layout.modules.entries()) {
          expect(scale).toBe(mix[0]!.adapter.layout.modules[m]!.scale);
          expect(alpha / rank).toBeCloseTo(scale, 10);
        }
      }),
    );
  });

  it('keeps alpha and scale together with rsLoRA', () => {
    const layout = toyLayout({ rank: 4, alpha: 8 });
    const rs = { rslora: true, modules: layout.modules.map((module) => ({ ...module, scale: 4 })) };
    const mix = [1, 2].map((seed) => ({
      adapter: { layout: rs, factors: toyAdapter(layout, seed).factors },
      weight: 0.5,
    }));
    const [module] = stackAdapter(mix).layout.modules;
    expect(module!.rank).toBe(8);
    expect(module!.alpha / Math.sqrt(module!.rank)).toBeCloseTo(4, 12);
    expect(farthest(deltas(stackAdapter(mix)), sumOf(mix))).toBeLessThan(1e-4);
  });

  it('is the adapter itself where there is one of weight 1, and leaves out weights of 0', () => {
    const [x, y] = [1, 2].map((seed) => toyAdapter(toyLayout(), seed)) as [Adapter, Adapter];
    expect(stackAdapter([{ adapter: x, weight: 1 }])).toBe(x);
    expect(stack([{ adapter: x, weight: 1 }])).toBe(x.factors);
    expect(
      stack([
        { adapter: x, weight: 1 },
        { adapter: y, weight: 0 },
      ]),
    ).toEqual(x.factors);
    expect(deltaOf(stackAdapter([{ adapter: x, weight: 0 }]), 'm0').data.every((v) => v === 0)).toBe(true);
  });

  it('refuses adapters of other modules, weights that are no numbers, and nothing at all', () => {
    const x = toyAdapter(toyLayout({ modules: 2 }), 1);
    const fewer = toyAdapter(toyLayout({ modules: 1 }), 1);
    const wider = toyAdapter(toyLayout({ modules: 2, inFeatures: 7 }), 1);
    const mixed = (adapter: Adapter) => () =>
      stackAdapter([
        { adapter: x, weight: 1 },
        { adapter, weight: 1 },
      ]);
    expect(mixed(fewer)).toThrow('module 2 is m1 [6, 5] in one and none in another');
    expect(mixed(wider)).toThrow('module 1 is m0 [6, 5] in one and m0 [6, 7] in another');
    expect(() =>
      stackAdapter([
        { adapter: fewer, weight: 1 },
        { adapter: x, weight: 1 },
      ]),
    ).toThrow('module 2 is none in one');
    expect(() => stackAdapter([{ adapter: x, weight: Number.NaN }])).toThrow('finite weights, not NaN');
    expect(() => stackAdapter([])).toThrow('at least one adapter');
  });
});

describe('products', () => {
  /** (B·Q, Q⁻¹·A) for an invertible Q: the same model in another gauge. */
  function regauged({ layout, factors }: Adapter, angle: number, stretch: number): Adapter {
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    const turn = (t: Tensor, q: number[][], left: boolean): Tensor => {
      const [rows, columns] = t.shape as [number, number];
      const at = (r: number, k: number): number => t.data[r * columns + k]!;
      const entry = (r: number, k: number): number =>
        left ? q[r]![0]! * at(0, k) + q[r]![1]! * at(1, k) : at(r, 0) * q[0]![k]! + at(r, 1) * q[1]![k]!;
      return matrix(Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, k) => entry(r, k))));
    };
    const [A, B] = [factors.get(keyOfA('m0'))!, factors.get(keyOfB('m0'))!];
    const q = [
      [c * stretch, -s],
      [s * stretch, c],
    ];
    const inverse = [
      [c / stretch, s / stretch],
      [-s, c],
    ];
    return {
      layout,
      factors: new Map([
        [keyOfA('m0'), turn(A, inverse, true)],
        [keyOfB('m0'), turn(B, q, false)],
      ]),
    };
  }

  it('do not see the gauge, alone or mixed; averaged factors do (ALGORITHMS §0, fact 2)', () => {
    const [x, y] = [1, 2].map((seed) => toyAdapter(toyLayout({ rank: 2 }), seed)) as [Adapter, Adapter];
    const turned = regauged(y, 0.8, 1.7);
    expect(distance(deltaOf(turned, 'm0'), deltaOf(y, 'm0'))).toBeLessThan(1e-5);
    const mixed = (other: Adapter): Tensor =>
      deltaOf(stackAdapter([x, other].map((adapter) => ({ adapter, weight: 0.5 }))), 'm0');
    expect(distance(mixed(turned), mixed(y))).toBeLessThan(1e-5);
    const averaged = (other: Adapter): Tensor =>
      deltaOf({ layout: x.layout, factors: scale(add(x.factors, other.factors), 0.5) }, 'm0');
    expect(distance(averaged(turned), averaged(y))).toBeGreaterThan(0.1);
  });

  it('merge into a weight as W0 + scale·B·A', () => {
    const adapter = {
      layout: toyLayout({ rank: 2, alpha: 4, inFeatures: 3, outFeatures: 2 }),
      factors: new Map([
        [
          keyOfA('m0'),
          matrix([
            [1, 2, 3],
            [0, 1, 0],
          ]),
        ],
        [
          keyOfB('m0'),
          matrix([
            [1, 0],
            [-1, 2],
          ]),
        ],
      ]),
    };
    const W0 = matrix([
      [10, 10, 10],
      [20, 20, 20],
    ]);
    expect(mergeModule(adapter, 'm0', W0)).toEqual(
      matrix([
        [12, 14, 16],
        [18, 20, 14],
      ]),
    );
    expect(deltaOf(adapter, 'm0')).toEqual(
      matrix([
        [2, 4, 6],
        [-2, 0, -6],
      ]),
    );
    expect(W0.data[0]).toBe(10);
  });

  it('merge as adding the delta does', () => {
    const adapter = toyAdapter(toyLayout({ rank: 3 }), 5);
    const W0 = toyAdapter(toyLayout({ rank: 5 }), 6).factors.get(keyOfB('m0'))!;
    const direct = addScaled(one(W0), one(deltaOf(adapter, 'm0')), 1).get('x');
    expect(distance(mergeModule(adapter, 'm0', W0), direct)).toBeLessThan(2e-6);
  });

  it('say what does not fit', () => {
    const adapter = toyAdapter(toyLayout(), 1);
    expect(() => mergeModule(adapter, 'm0', matrix([[1]]))).toThrow(
      'weight of m0 has shape [1, 1]; the adapter is for [6, 5]',
    );
    expect(() => mergeModule(adapter, 'm7', zeros([1, 1]))).toThrow('the adapter has no module m7');
  });
});
