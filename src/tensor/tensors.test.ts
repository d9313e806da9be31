import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { likeTensors } from '../../tests/arbitrary.ts';
import { dot } from '../../tests/support/dot.ts';
import type { Tensors } from './tensor.ts';
import {
  add,
  addScaled,
  allFinite,
  byteSize,
  countNumbers,
  getTensor,
  mapTensors,
  norm,
  requireSameShapes,
  sameBits,
  scale,
  shapeDifference,
  subtract,
  tensor,
  zerosLike,
} from './tensors.ts';

const two = (a: number[], b: number[]): Tensors =>
  new Map([
    ['a', tensor([a.length], a)],
    ['b', tensor([1, b.length], b)],
  ]);
const values = (tensors: Tensors): number[][] => [...tensors.values()].map(({ data }) => [...data]);

describe('arithmetic on named tensors', () => {
  const x = two([1, 2, 3], [4]);
  const y = two([10, 20, 30], [-40]);

  it('adds, subtracts, scales', () => {
    expect(values(add(x, y))).toEqual([[11, 22, 33], [-36]]);
    expect(values(subtract(y, x))).toEqual([[9, 18, 27], [-44]]);
    expect(values(scale(x, -0.5))).toEqual([[-0.5, -1, -1.5], [-2]]);
    expect(values(addScaled(x, y, 0.1))).toEqual([[2, 4, 6], [0]]);
    expect(values(zerosLike(x))).toEqual([[0, 0, 0], [0]]);
    expect(values(x)).toEqual([[1, 2, 3], [4]]);
  });

  it('rounds once, from float64', () => {
    const [a, b] = [two([1], [0]), two([2 ** 25 + 4], [0])];
    // In float32 the product 0.1·b would be rounded before the sum.
    expect(addScaled(a, b, 0.1).get('a')!.data[0]).toBe(Math.fround(1 + 0.1 * (2 ** 25 + 4)));
  });

  it('takes norm and inner product over all tensors, in float64', () => {
    expect(norm(two([3, 0], [4]))).toBe(5);
    expect(dot(x, y)).toBe(10 + 40 + 90 - 160);
    expect(norm(two([1e30], [1e30]))).toBeCloseTo(Math.sqrt(2) * Math.fround(1e30), -16);
    // 2²⁴ ones and another: float32 sums would stick.
    expect(
      norm(new Map([['a', { shape: [2 ** 24 + 9], data: new Float32Array(2 ** 24 + 9).fill(1) }]])) ** 2,
    ).toBeCloseTo(2 ** 24 + 9, 4);
  });

  it('counts numbers and bytes', () => {
    expect(countNumbers(x)).toBe(4);
    expect(byteSize(x)).toBe(16);
    expect(byteSize(new Map())).toBe(0);
  });

  it('keeps the order and names of the first map', () => {
    const swapped: Tensors = new Map([...y].reverse());
    expect([...add(x, swapped).keys()]).toEqual(['a', 'b']);
    expect(values(add(x, swapped))).toEqual([[11, 22, 33], [-36]]);
    const named = mapTensors(x, (t, name) => (name === 'a' ? t : tensor([1], [7])));
    expect(values(named)).toEqual([[1, 2, 3], [7]]);
  });

  it('has the laws of a vector space', () => {
    fc.assert(
      fc.property(likeTensors(2), fc.double({ min: -10, max: 10, noNaN: true }), ([a, b], factor) => {
        expect(sameBits(add(a!, b!), addScaled(a!, b!, 1))).toBe(true);
        expect(
          values(subtract(a!, a!))
            .flat()
            .every((v) => v === 0),
        ).toBe(true);
        expect(dot(a!, a!)).toBeCloseTo(norm(a!) ** 2, 0);
        expect(norm(scale(a!, -2))).toBeCloseTo(2 * norm(a!), 3);
        const direct = dot(a!, b!);
        expect(dot(scale(a!, factor), b!)).toBeCloseTo(factor * direct, -2);
      }),
    );
  });
});

describe('allFinite', () => {
  it('names the first tensor with a number that is not finite', () => {
    expect(allFinite(two([1, -0, 3e38], [1e-45]))).toBeUndefined();
    expect(allFinite(two([1, 2], [Number.NaN]))).toBe('b');
    expect(allFinite(two([1, -Infinity], [Number.NaN]))).toBe('a');
  });
});

describe('shapes', () => {
  it('names what differs', () => {
    const a = two([1, 2], [3]);
    expect(shapeDifference(a, new Map([...a].reverse()))).toBeUndefined();
    expect(shapeDifference(a, two([1, 2, 3], [3]))).toBe('tensor "a" has shape [2] in the first and [3] in the second');
    const one = new Map([['a', a.get('a')!]]);
    expect(shapeDifference(a, one)).toBe('tensor "b" is missing in the second');
    expect(shapeDifference(one, a)).toBe('tensor "b" is missing in the first');
    const flat = new Map([...one, ['b', tensor([1], [3])]]);
    expect(() => requireSameShapes(a, flat, 'update and model')).toThrow(
      'update and model do not fit each other: tensor "b" has shape [1, 1] in the first and [1] in the second',
    );
    for (const f of [add, subtract]) expect(() => f(a, one)).toThrow('tensor "b" is missing');
  });

  it('refuses data of another length, and names what is there where a tensor is missing', () => {
    expect(() => tensor([2, 3], [1, 2])).toThrow('shape [2, 3] needs 6 numbers, not 2');
    expect(() => getTensor(two([1], [2]), 'c')).toThrow('no tensor "c"; there is a, b');
    expect(() => getTensor(new Map(), 'c')).toThrow('there is none at all');
  });
});

describe('sameBits', () => {
  it('sees signs of zero, NaN, names, order and shapes', () => {
    expect(sameBits(two([0, Number.NaN], [1]), two([0, Number.NaN], [1]))).toBe(true);
    expect(sameBits(two([0], [1]), two([-0], [1]))).toBe(false);
    expect(sameBits(two([1], [1]), new Map([...two([1], [1])].reverse()))).toBe(false);
    expect(sameBits(two([1], [1]), new Map([...two([1], [1])].slice(1)))).toBe(false);
    expect(sameBits(new Map([['a', tensor([2], [1, 2])]]), new Map([['a', tensor([1, 2], [1, 2])]]))).toBe(false);
  });
});
