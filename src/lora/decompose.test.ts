import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyMatrix } from '../../tests/arbitrary.ts';
import { normalisePullback } from '../../tests/support/normalise-pullback.ts';
import { distance, matrix, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { requireSameShapes, sameBits, scale } from '../tensor/tensors.ts';
import { weightedMean } from '../tensor/weighted.ts';
import { keyOfA, keyOfB } from './adapter.ts';
import { AXES, innerProducts, walk } from './axis.ts';
import {
  decompose,
  decomposeAdapter,
  directionKey,
  magnitudeKey,
  normaliseDirections,
  recompose,
  recomposeAdapter,
} from './decompose.ts';
import { normalise } from './normalise.ts';

const overs = [0, 1] as const;

describe('decompose', () => {
  it('splits columns or rows into lengths and unit vectors', () => {
    const x = matrix([
      [3, 0],
      [4, 0],
      [0, -2],
    ]);
    expect(decompose(x, 0)).toEqual({
      magnitude: matrix([[5, 2]]),
      direction: matrix([
        [0.6, 0],
        [0.8, 0],
        [0, -1],
      ]),
    });
    expect(decompose(x, 1)).toEqual({
      magnitude: matrix([[3], [4], [2]]),
      direction: matrix([
        [1, 0],
        [1, 0],
        [0, -1],
      ]),
    });
  });

  it('is undone by recompose, with unit vectors and zero vectors at zero (METHOD, invariant 1)', () => {
    fc.assert(
      fc.property(anyMatrix(), fc.constantFrom(...overs), (x, over) => {
        const { magnitude, direction } = decompose(x, over);
        const back = recompose({ magnitude, direction });
        const squares = innerProducts(direction.data, direction.data, walk(direction, over));
        const lengths = innerProducts(x.data, x.data, walk(x, over)).map(Math.sqrt);
        for (const [v, square] of squares.entries()) {
          if (lengths[v] === 0) expect([square, magnitude.data[v]]).toEqual([0, 0]);
          else expect(Math.abs(square - 1)).toBeLessThan(1e-6);
        }
        for (const [i, value] of x.data.entries()) {
          expect(Math.abs(back.data[i]! - value)).toBeLessThanOrEqual(2e-7 * Math.abs(value) + 1e-40);
        }
      }),
    );
  });

  it('keeps the direction of the smallest and the largest vectors', () => {
    const { magnitude, direction } = decompose(
      matrix([
        [1e-40, 3e38],
        [0, 3e38],
      ]),
      0,
    );
    expect(
      distance(
        direction,
        matrix([
          [1, Math.SQRT1_2],
          [0, Math.SQRT1_2],
        ]),
      ),
    ).toBeLessThan(1e-7);
    // √2 · 3e38 is beyond float32: an infinite magnitude, which `allFinite` finds.
    expect(magnitude.data[1]).toBe(Infinity);
  });

  it('refuses magnitudes that do not belong to the directions, and what is no matrix', () => {
    const { direction } = decompose(
      matrix([
        [1, 2, 3],
        [4, 5, 6],
      ]),
      0,
    );
    expect(() => recompose({ magnitude: matrix([[1, 2]]), direction })).toThrow(
      '[1, 2] and directions of shape [2, 3]',
    );
    expect(() => decompose({ shape: [2], data: new Float32Array(2) }, 0)).toThrow('not of a tensor of shape [2]');
  });
});

describe('normalise', () => {
  it('gives unit vectors; what cancelled takes the vector before, or zero', () => {
    const x = matrix([
      [3, 0, 1e-13],
      [4, 0, 1e-14],
    ]);
    const previous = matrix([
      [9, 0.6, 1],
      [9, 0.8, 0],
    ]);
    expect(
      distance(
        normalise(x, 0, previous),
        matrix([
          [0.6, 0.6, 1],
          [0.8, 0.8, 0],
        ]),
      ),
    ).toBeLessThan(1e-7);
    expect(
      distance(
        normalise(x, 0),
        matrix([
          [0.6, 0, 0],
          [0.8, 0, 0],
        ]),
      ),
    ).toBeLessThan(1e-7);
    expect(() => normalise(x, 0, matrix([[1]]))).toThrow('previous directions have shape [1, 1], not [2, 3]');
  });

  it('does not change with the length of its vectors', () => {
    fc.assert(
      fc.property(anyMatrix(), fc.constantFrom(...overs), (x, over) => {
        const twice = { shape: x.shape, data: x.data.map((v) => 4 * v) };
        fc.pre(innerProducts(x.data, x.data, walk(x, over)).every((square) => square === 0 || square > 1e-20));
        expect(normalise(twice, over)).toEqual(normalise(x, over));
      }),
    );
  });

  it('pulls back full, detached and off; cancelled vectors get 0', () => {
    const [v, g] = [
      matrix([
        [3, 4],
        [0, 0],
      ]),
      matrix([
        [1, 0],
        [1, 1],
      ]),
    ];
    expect(
      distance(
        normalisePullback(v, g, 1, 'full'),
        matrix([
          [0.128, -0.096],
          [0, 0],
        ]),
      ),
    ).toBeLessThan(1e-7);
    expect(
      distance(
        normalisePullback(v, g, 1, 'detach'),
        matrix([
          [0.2, 0],
          [0, 0],
        ]),
      ),
    ).toBeLessThan(1e-7);
    expect(normalisePullback(v, g, 1, 'off')).toBe(g);
  });
});

describe('components of an adapter', () => {
  const layout = toyLayout({ modules: 2, rank: 3 });
  const adapter = toyAdapter(layout, 21);

  it.each(AXES)(
    'are undone, and averaging those of identical clients gives the client (invariant 2), axis %s',
    (axis) => {
      const components = decomposeAdapter(adapter, axis);
      expect(components.size).toBe(8);
      const mean = weightedMean([1, 2, 4].map((weight) => ({ tensors: components, weight })));
      expect(sameBits(mean, components)).toBe(true);
      const back = recomposeAdapter(layout, normaliseDirections(layout, mean, axis, components));
      requireSameShapes(back.factors, adapter.factors);
      for (const [key, factor] of adapter.factors) expect(distance(back.factors.get(key), factor)).toBeLessThan(1e-6);
    },
  );

  it.each(AXES)('keep the directions before where an average cancels, axis %s', (axis) => {
    const components = decomposeAdapter(adapter, axis);
    const opposite = decomposeAdapter({ layout, factors: scale(adapter.factors, -1) }, axis);
    const mean = weightedMean([components, opposite].map((tensors) => ({ tensors, weight: 1 })));
    const kept = normaliseDirections(layout, mean, axis, components);
    expect(sameBits(kept, components)).toBe(true);
    const lost = normaliseDirections(layout, mean, axis);
    expect(lost.get(directionKey(keyOfB('m1')))!.data.every((v) => v === 0)).toBe(true);
    expect(lost.get(magnitudeKey(keyOfA('m1')))).toEqual(components.get(magnitudeKey(keyOfA('m1'))));
  });

  it('name what is missing', () => {
    const components = new Map(decomposeAdapter(adapter, 'column'));
    components.delete(directionKey(keyOfA('m1')));
    expect(() => recomposeAdapter(layout, components)).toThrow('no tensor "m1.lora_A.direction"');
    expect(() => normaliseDirections(layout, components, 'column')).toThrow('no tensor "m1.lora_A.direction"');
  });
});
