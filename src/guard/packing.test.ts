import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { likeTensors } from '../../tests/arbitrary.ts';
import { packedBytes, unlike, type Packed } from '../tensor/packed.ts';
import { stream } from '../tensor/random.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { countNumbers, sameBits } from '../tensor/tensors.ts';
import { UNCLIPPED } from './beside.ts';
import { outgoing } from './compress.ts';
import type { Compression } from './guards.ts';
import { unpacked } from './packing.ts';
import { compressorOf, packingOf } from './payload.ts';

const vector = (...numbers: number[]): Tensor => ({ shape: [numbers.length], data: Float32Array.from(numbers) });
const int8: Compression = { use: 'int8' };
const size = (packed: Packed): number => [...packed.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
const topKOf = (positions: readonly number[], share = 0.5): (() => Tensors) => {
  const like: Tensors = new Map([['x', vector(0, 0, 0, 0)]]);
  const values = Float32Array.from(positions, () => 1);
  const bytes = Uint8Array.of(positions.reduce((sum, position, k) => sum + position * 4 ** k, 0));
  const packed: Packed = new Map([
    ['top-k:values', { dtype: 'F32', shape: [values.length], bytes: new Uint8Array(values.buffer) }],
    ['top-k:positions', { dtype: 'U8', shape: [1], bytes }],
  ]);
  return () => packingOf({ use: 'top-k', share }).unpack(packed, like);
};

describe('an update that travels compressed', () => {
  it('arrives as what the client took for sent, bit for bit, clipped or not, in the bytes that are counted', () => {
    const uniform = stream(7, 'rounding').uniform;
    const compression = fc.oneof(
      fc.constant(int8),
      fc.constantFrom(0.05, 0.3, 1).map((share): Compression => ({ use: 'top-k', share })),
    );
    fc.assert(
      fc.property(likeTensors(1), compression, fc.option(fc.constantFrom(0.01, 3)), ([given], use, bound) => {
        if (countNumbers(given!) === 0) return;
        const out = outgoing(given!, undefined, {
          compress: compressorOf(use, uniform),
          ...(bound !== null && { bound }),
        });
        const bit: Tensor = { shape: [], data: Float32Array.of(-0.5) };
        const packed = new Map([...out.pack()!, [UNCLIPPED, unpacked(bit)] as const]);
        const like = new Map([...given!, [UNCLIPPED, bit] as const]);
        const packing = packingOf(use);
        expect(unlike(packing.plan(like), packed)).toBeUndefined();
        expect(sameBits(packing.unpack(packed, like), new Map([...out.sent, [UNCLIPPED, bit] as const]))).toBe(true);
        expect(packing.plan(like).reduce((sum, each) => sum + packedBytes(each), 0)).toBe(size(packed));
        const numbers = countNumbers(given!);
        const rows = [...given!.values()].reduce((sum, { shape }) => sum + (shape[1] === 0 ? 0 : shape[0]!), 0);
        const keep = use.use === 'top-k' ? Math.max(1, Math.round(use.share * numbers)) : 0;
        const bits = keep * (32 + Math.ceil(Math.log2(numbers)));
        expect(size(packed) - 4).toBe(use.use === 'int8' ? numbers + 4 * rows : Math.ceil(bits / 8));
      }),
    );
  });

  it('of other names, types or shapes is told apart, in words', () => {
    const like: Tensors = new Map([['x', { shape: [2, 2], data: new Float32Array(4) }]]);
    const plan = packingOf(int8).plan(like);
    const packed = outgoing(like, undefined, { compress: compressorOf(int8, () => 0) }).pack()!;
    expect(unlike(plan, packed)).toBeUndefined();
    expect(unlike(plan, new Map([['x', packed.get('x')!]]))).toBe('tensor “x:scale” is missing');
    expect(unlike(plan, new Map([...packed, ['x', { ...packed.get('x')!, shape: [4] }]]))).toBe(
      'tensor “x” is I8 [4], not I8 [2, 2]',
    );
    expect(unlike(plan, new Map([...packed, ['y', packed.get('x')!]]))).toBe('tensor “y” is none of it');
  });

  it('of top-k has positions that ascend and lie in it', () => {
    expect([...topKOf([1, 3])().get('x')!.data]).toEqual([0, 1, 0, 1]);
    expect(topKOf([2, 2])).toThrow('do not ascend');
    expect(topKOf([3, 1])).toThrow('do not ascend');
    const like: Tensors = new Map([['x', vector(0, 0, 0)]]);
    const packed: Packed = new Map([
      ['top-k:values', { dtype: 'F32', shape: [1], bytes: new Uint8Array(4) }],
      ['top-k:positions', { dtype: 'U8', shape: [1], bytes: Uint8Array.of(3) }],
    ]);
    expect(() => packingOf({ use: 'top-k', share: 0.3 }).unpack(packed, like)).toThrow('outside the update');
  });
});
