import { describe, expect, it } from 'vitest';
import { randomFactors, toyLayout } from '../../tests/toy-adapter.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { keyOfA, keyOfB } from './adapter.ts';
import { addedToB, keyOfB1, keyOfB2, keyOfMix, mixedA, ownPart, ownRank } from './own-rank.ts';

const layout = toyLayout({ modules: 2 });
const random = randomFactors(layout, 1);
const rank = layout.modules[0]!.rank;

/** Params away from where they begin. */
const moved = (params: Tensors): Tensors =>
  new Map(
    [...params].map(([key, { shape, data }], k) => [key, { shape, data: data.map((x, i) => x + Math.sin(3 * k + i)) }]),
  );

describe.each([1, rank])('a client of rank %i within rank R', (r) => {
  const own = ownPart(layout, random, r);
  const adapter = { layout, factors: new Map([...random, ...mixedA(layout, own)]) };
  const point = ownRank(own).at(adapter);

  it('begins at the first rows of A and at the shared B', () => {
    const factors = point.toFactors(point.init);
    for (const { name, inFeatures } of layout.modules) {
      expect(factors.get(keyOfB(name))).toEqual(random.get(keyOfB(name)));
      const first = [...random.get(keyOfA(name))!.data].map((x, i) => (i < r * inFeatures ? x : 0));
      expect([...factors.get(keyOfA(name))!.data]).toEqual(first);
    }
    expect([...factors.keys()]).toEqual([...random.keys()]);
  });

  it('has the gradients that finite differences find', () => {
    const params = moved(point.init);
    const weights = randomFactors(layout, 2);
    const loss = (at: Tensors): number => {
      let sum = 0;
      for (const [key, { data }] of point.toFactors(at))
        data.forEach((x, i) => (sum += x * weights.get(key)!.data[i]!));
      return sum;
    };
    const gradients = point.pullback(weights, params);
    expect([...gradients.keys()].sort()).toEqual([...params.keys()].sort());
    // Linear in each number: the step may be large.
    for (const [key, { shape, data }] of params)
      data.forEach((x, i) => {
        const at = (value: number): number => loss(new Map([...params, [key, { shape, data: data.with(i, value) }]]));
        expect(gradients.get(key)!.data[i]).toBeCloseTo(at(x + 0.5) - at(x - 0.5), 4);
      });
  });

  it('is of rank r in what it keeps and in what it sends', () => {
    const params = moved(point.init);
    const firstTwo = (tensors: Tensors, key: string) => {
      const { shape, data } = tensors.get(key)!;
      return [data.subarray(0, shape[1]), data.subarray(shape[1], 2 * shape[1]!)] as const;
    };
    for (const { name, outFeatures } of layout.modules) {
      expect(params.get(keyOfMix(name))!.shape).toEqual([rank, r]);
      expect(params.get(keyOfB2(name))!.shape).toEqual([outFeatures, r]);
      expect(params.get(keyOfB1(name))!.shape).toEqual([r, rank]);
      // Of rank 1: every minor of two rows is 0; of full rank one is not.
      for (const [a, b] of [
        firstTwo(mixedA(layout, params), keyOfA(name)),
        firstTwo(addedToB(layout, params), keyOfB(name)),
      ]) {
        const minor = Math.abs(a[0]! * b[1]! - a[1]! * b[0]!);
        if (r === 1) expect(minor).toBeLessThan(1e-5);
        else expect(minor).toBeGreaterThan(1e-3);
      }
    }
  });
});
