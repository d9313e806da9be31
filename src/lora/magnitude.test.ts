import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matrix as anyOf } from '../../tests/arbitrary.ts';
import { distance, matrix, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { sgd } from '../optim/sgd.ts';
import { add, getTensor, mapTensors, zerosLike } from '../tensor/tensors.ts';
import { keyOfA, keyOfB } from './adapter.ts';
import { AXES, innerProducts, magnitudeShape, normAxis, walk } from './axis.ts';
import { decompose } from './decompose.ts';
import { magnitudeOfA, magnitudeOfB } from './magnitude.ts';

const layout = toyLayout({ modules: 2, rank: 3 });
const adapter = toyAdapter(layout, 11);

describe('training magnitudes', () => {
  it('is the toy of ALGORITHMS §4: B = [6, 8], G = [1, 1]', () => {
    const one = {
      layout: toyLayout({ rank: 1, inFeatures: 1, outFeatures: 2 }),
      factors: new Map([
        [keyOfA('m0'), matrix([[1]])],
        [keyOfB('m0'), matrix([[6], [8]])],
      ]),
    };
    const point = magnitudeOfB({ axis: 'column' }).at(one);
    const pulled = point.pullback(new Map([[keyOfB('m0'), matrix([[1], [1]])]]), point.init);
    expect(distance(pulled.get(keyOfB('m0')), matrix([[1.4]]))).toBeLessThan(1e-6);
    const optimizer = sgd({ rate: 0.1 });
    const [updates] = optimizer.update(pulled, optimizer.init(point.init), point.init);
    const moved = point.toFactors(add(point.init, updates)).get(keyOfB('m0'));
    expect(distance(moved, matrix([[5.916], [7.888]]))).toBeLessThan(1e-6);
  });

  describe.each(AXES)('axis %s', (axis) => {
    const delta = fc.float({ noNaN: true, min: -4, max: 4 });
    const paramsOfB = fc
      .tuple(
        ...layout.modules.map(({ rank, outFeatures }) => {
          const [rows, columns] = magnitudeShape([outFeatures, rank], normAxis('B', axis));
          return anyOf(rows, columns, delta);
        }),
      )
      .map((tensors) => new Map(tensors.map((t, i) => [keyOfB(`m${i}`), t])));

    it('gives the adapter’s own factors bit for bit at zero deltas', () => {
      fc.assert(
        fc.property(anyOf(3, 5), anyOf(6, 3), (A, B) => {
          const one = {
            layout: toyLayout({ rank: 3 }),
            factors: new Map([
              [keyOfA('m0'), A],
              [keyOfB('m0'), B],
            ]),
          };
          for (const how of [magnitudeOfA({ axis }), magnitudeOfB({ axis })]) {
            const point = how.at(one);
            for (const [key, t] of point.toFactors(point.init)) expect(distance(t, one.factors.get(key))).toBe(0);
          }
        }),
      );
    });

    it('leaves A the same tensors, and B’s directions up to their sign (METHOD, invariant 5)', () => {
      const over = normAxis('B', axis);
      const point = magnitudeOfB({ axis }).at(adapter);
      fc.assert(
        fc.property(paramsOfB, (params) => {
          const moved = point.toFactors(params);
          for (const { name } of layout.modules) {
            expect(moved.get(keyOfA(name))).toBe(adapter.factors.get(keyOfA(name)));
            const [before, after] = [adapter.factors, moved].map((f) => decompose(getTensor(f, keyOfB(name)), over));
            const magnitudes = [...before!.magnitude.data].map((m, v) => m + params.get(keyOfB(name))!.data[v]!);
            const cosines = innerProducts(before!.direction.data, after!.direction.data, walk(before!.direction, over));
            for (const [v, magnitude] of magnitudes.entries()) {
              expect(Math.abs(after!.magnitude.data[v]! - Math.abs(magnitude))).toBeLessThan(2e-6);
              if (Math.abs(magnitude) > 1e-5) expect(cosines[v]! * Math.sign(magnitude)).toBeCloseTo(1, 5);
            }
          }
        }),
      );
    });

    it('has the gradient ⟨G, D⟩ that finite differences find (invariant 7): it is linear', () => {
      const weights = toyAdapter(layout, 12).factors;
      for (const [how, keyOf] of [
        [magnitudeOfA({ axis }), keyOfA],
        [magnitudeOfB({ axis }), keyOfB],
      ] as const) {
        const point = how.at(adapter);
        const pulled = point.pullback(weights, point.init);
        const key = keyOf('m1');
        const { shape, data } = point.init.get(key)!;
        for (let i = 0; i < data.length; i++) {
          const at = (step: number): number => {
            const params = new Map([...point.init, [key, { shape, data: data.map((_, k) => (k === i ? step : 0)) }]]);
            return [...point.toFactors(params).get(key)!.data].reduce(
              (sum, v, k) => sum + v * weights.get(key)!.data[k]!,
              0,
            );
          };
          expect(Math.abs(pulled.get(key)!.data[i]! - (at(1) - at(-1)) / 2)).toBeLessThan(1e-5);
        }
      }
    });

    it('cannot revive a zero vector: it stays zero and its gradient is 0', () => {
      const zero = { layout, factors: zerosLike(adapter.factors) };
      for (const how of [magnitudeOfA({ axis }), magnitudeOfB({ axis })]) {
        const point = how.at(zero);
        const params = mapTensors(point.init, ({ shape, data }) => ({ shape, data: data.map(() => 3) }));
        expect([...point.toFactors(params).values()].every(({ data }) => data.every((v) => v === 0))).toBe(true);
        const pulled = point.pullback(adapter.factors, params);
        expect([...pulled.values()].every(({ data }) => data.every((v) => v === 0))).toBe(true);
      }
    });
  });
});
