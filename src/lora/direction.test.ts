import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matrix as anyOf } from '../../tests/arbitrary.ts';
import { distance, matrix, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { sgd } from '../optim/sgd.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { add, getTensor, mapTensors, sameBits, zerosLike } from '../tensor/tensors.ts';
import { type Adapter, keyOfA, keyOfB } from './adapter.ts';
import { AXES, innerProducts, normAxis, walk } from './axis.ts';
import { decompose } from './decompose.ts';
import { directionOfA, directionOfB } from './direction.ts';

const MODES = ['full', 'detach', 'off'] as const;
const layout = toyLayout({ modules: 2, rank: 3 });
const oneVector = (values: number[]): Adapter => ({
  layout: toyLayout({ rank: 1, inFeatures: values.length, outFeatures: 1 }),
  factors: new Map([
    [keyOfA('m0'), matrix([values])],
    [keyOfB('m0'), matrix([[2]])],
  ]),
});

/** Deltas for every A of the layout, small enough that no direction cancels. */
const deltas = fc
  .tuple(
    ...layout.modules.map(({ rank, inFeatures }) =>
      anyOf(rank, inFeatures, fc.float({ noNaN: true, min: -0.25, max: 0.25 })),
    ),
  )
  .map((tensors) => new Map(tensors.map((t, i) => [keyOfA(`m${i}`), t])));

describe('training directions', () => {
  it('is the toy of ALGORITHMS §4: gradient, step and the length that stays', () => {
    const point = directionOfA({ axis: 'row' }).at(oneVector([3, 4]));
    const gradients = new Map([[keyOfA('m0'), matrix([[1, 0]])]]);
    const pulled = point.pullback(gradients, point.init);
    expect(distance(pulled.get(keyOfA('m0')), matrix([[3.2, -2.4]]))).toBeLessThan(1e-6);
    const optimizer = sgd({ rate: 0.1 });
    const [updates] = optimizer.update(pulled, optimizer.init(point.init), point.init);
    const moved = point.toFactors(add(point.init, updates)).get(keyOfA('m0'))!;
    expect(distance(moved, matrix([[1.299867, 4.828079]]))).toBeLessThan(1e-6);
    expect(Math.hypot(...moved.data)).toBeCloseTo(5, 6);
  });

  it('has DoRA’s gradient of a normalised vector (ALGORITHMS §4): V = [3, 4], m = 10, G = [1, 0]', () => {
    // A vector of length 10 whose raw direction is [3, 4]: A = [6, 8], delta = [3, 4] − [0.6, 0.8].
    const params = new Map([[keyOfA('m0'), matrix([[2.4, 3.2]])]]);
    const gradients = new Map([[keyOfA('m0'), matrix([[1, 0]])]]);
    for (const [renormalise, expected] of [
      ['full', [1.28, -0.96]],
      ['detach', [2, 0]],
    ] as const) {
      const point = directionOfA({ axis: 'row', renormalise }).at(oneVector([6, 8]));
      expect(distance(point.toFactors(params).get(keyOfA('m0')), matrix([[6, 8]]))).toBeLessThan(1e-6);
      expect(distance(point.pullback(gradients, params).get(keyOfA('m0')), matrix([[...expected]]))).toBeLessThan(1e-6);
    }
  });

  describe.each(AXES)('axis %s', (axis) => {
    const adapter = toyAdapter(layout, 7);

    it.each(MODES)('gives the adapter’s own factors bit for bit at zero deltas, renormalise %s', (renormalise) => {
      fc.assert(
        fc.property(anyOf(3, 5), anyOf(6, 3), (A, B) => {
          const one = {
            layout: toyLayout({ rank: 3 }),
            factors: new Map([
              [keyOfA('m0'), A],
              [keyOfB('m0'), B],
            ]),
          };
          for (const how of [directionOfA({ axis, renormalise }), directionOfB({ axis, renormalise })]) {
            const point = how.at(one);
            const back = point.toFactors(point.init);
            // −0 may come back as 0 where a whole vector is zero.
            expect([...back.keys()]).toEqual([...one.factors.keys()]);
            for (const [key, { data }] of back) expect(distance({ shape: [], data }, one.factors.get(key))).toBe(0);
          }
        }),
      );
    });

    it('leaves B the same tensors and A’s magnitudes unchanged, with unit directions (METHOD, invariant 4)', () => {
      const point = directionOfA({ axis }).at(adapter);
      fc.assert(
        fc.property(deltas, (params) => {
          const moved = point.toFactors(params);
          for (const { name } of layout.modules) {
            expect(moved.get(keyOfB(name))).toBe(adapter.factors.get(keyOfB(name)));
            const over = normAxis('A', axis);
            const [before, after] = [adapter.factors, moved].map((f) => decompose(getTensor(f, keyOfA(name)), over));
            expect(distance(before!.magnitude, after!.magnitude)).toBeLessThan(1e-6);
            const squares = innerProducts(after!.direction.data, after!.direction.data, walk(after!.direction, over));
            for (const square of squares) expect(Math.abs(square - 1)).toBeLessThan(1e-6);
          }
        }),
      );
    });

    it.each(['full', 'off'] as const)(
      'has the gradient that finite differences find (invariant 7), renormalise %s',
      (renormalise) => {
        const how = directionOfA({ axis, renormalise });
        fc.assert(
          fc.property(deltas, (params) => expectFiniteDifferences(how.at(adapter), params, toyAdapter(layout, 8))),
          { numRuns: 20 },
        );
        const zero = directionOfB({ axis, renormalise }).at(adapter);
        expectFiniteDifferences(zero, zero.init, toyAdapter(layout, 8));
      },
    );

    it('has a gradient at right angles to the direction', () => {
      const point = directionOfA({ axis }).at(adapter);
      const pulled = point.pullback(toyAdapter(layout, 9).factors, point.init);
      for (const [key, gradient] of pulled) {
        const { direction } = decompose(getTensor(adapter.factors, key), normAxis('A', axis));
        const products = innerProducts(gradient.data, direction.data, walk(direction, normAxis('A', axis)));
        for (const along of products) expect(Math.abs(along)).toBeLessThan(1e-5);
      }
    });

    it('keeps zero vectors at zero, whatever their delta, with a gradient of zero', () => {
      const zero = { layout, factors: zerosLike(adapter.factors) };
      const point = directionOfA({ axis }).at(zero);
      const params = mapTensors(point.init, ({ shape, data }) => ({ shape, data: data.map((_, i) => i - 2) }));
      expect([...point.toFactors(params).values()].every(({ data }) => data.every((v) => v === 0))).toBe(true);
      const pulled = point.pullback(adapter.factors, params);
      expect([...pulled.values()].every(({ data }) => data.every((v) => v === 0))).toBe(true);
    });
  });

  it('divides by nothing where a delta cancels a direction', () => {
    const point = directionOfA({ axis: 'row' }).at(oneVector([0, 4]));
    const params = new Map([[keyOfA('m0'), matrix([[0, -1]])]]);
    const gradients = new Map([[keyOfA('m0'), matrix([[1, 1]])]]);
    expect([...point.toFactors(params).get(keyOfA('m0'))!.data]).toEqual([0, 0]);
    expect([...point.pullback(gradients, params).get(keyOfA('m0'))!.data]).toEqual([0, 0]);
  });

  it('lets lengths change where renormalising is off', () => {
    const point = directionOfA({ axis: 'row', renormalise: 'off' }).at(oneVector([3, 4]));
    const params = new Map([[keyOfA('m0'), matrix([[0.6, 0.8]])]]);
    expect(distance(point.toFactors(params).get(keyOfA('m0')), matrix([[6, 8]]))).toBeLessThan(1e-6);
  });

  it('is pure, and refuses params and gradients that do not fit', () => {
    const adapter = toyAdapter(layout, 7);
    const point = directionOfA({ axis: 'column' }).at(adapter);
    const params = mapTensors(point.init, ({ shape, data }) => ({ shape, data: data.map((_, i) => i / 9) }));
    expect(sameBits(point.toFactors(params), point.toFactors(params))).toBe(true);
    expect(() => point.toFactors(new Map([...params].slice(1)))).toThrow('m0.lora_A" is missing in the first');
    expect(() => point.pullback(new Map(), params)).toThrow('no tensor "m0.lora_A"');
    const swapped = mapTensors(adapter.factors, ({ shape, data }) => ({ shape: [...shape].reverse(), data }));
    expect(() => directionOfA({ axis: 'column' }).at({ layout, factors: swapped })).toThrow(
      'm0.lora_A of shape [5, 3]; its layout asks for [3, 5]',
    );
  });
});

/** Fourth-order central differences of ⟨weights, factors(params)⟩, entry by entry. */
function expectFiniteDifferences(
  point: ReturnType<ReturnType<typeof directionOfA>['at']>,
  params: ReadonlyMap<string, Tensor>,
  { factors: weights }: Adapter,
): void {
  const pulled = point.pullback(weights, params);
  const h = 2 ** -6;
  for (const [key, { shape, data }] of params) {
    for (let i = 0; i < data.length; i++) {
      const at = (step: number): number => {
        const moved = Float32Array.from(data);
        moved[i]! += step;
        const factor = point.toFactors(new Map([...params, [key, { shape, data: moved }]])).get(key)!;
        return innerProducts(factor.data, weights.get(key)!.data, { ...walk(factor, 0), perColumn: 0, vectors: 1 })[0]!;
      };
      const slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
      expect(Math.abs(pulled.get(key)!.data[i]! - slope)).toBeLessThan(2e-3);
    }
  }
}
