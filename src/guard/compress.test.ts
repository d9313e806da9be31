import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyMatrix, likeTensors } from '../../tests/arbitrary.ts';
import { stream } from '../tensor/random.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { add, countNumbers, norm, sameBits, zerosLike } from '../tensor/tensors.ts';
import { int8, largest, outgoing } from './compress.ts';
import { fromInt8, toInt8 } from './int8.ts';
import { fromTopK, topK } from './top-k.ts';

const vector = (...numbers: number[]): Tensor => ({ shape: [numbers.length], data: Float32Array.from(numbers) });

describe('int8 per row', () => {
  it('is off by at most half a scale to nearest, by less than one stochastically, and keeps the row’s largest', () => {
    const uniform = stream(1, 'rounding').uniform;
    fc.assert(
      fc.property(anyMatrix(), (matrix) => {
        const columns = matrix.shape[1]!;
        const scaleAt = (i: number, scales: Float32Array): number => scales[Math.floor(i / columns)]!;
        const nearest = toInt8(matrix);
        const random = toInt8(matrix, uniform);
        for (const [i, x] of fromInt8(nearest).data.entries()) {
          const scale = scaleAt(i, nearest.scales);
          expect(Math.abs(x - matrix.data[i]!)).toBeLessThanOrEqual(scale * 0.50001);
        }
        for (const [i, x] of fromInt8(random).data.entries()) {
          const scale = scaleAt(i, random.scales);
          expect(Math.abs(x - matrix.data[i]!)).toBeLessThanOrEqual(scale);
          if (scale > 1e-37) expect(Math.abs(random.values[i]!)).toBeLessThanOrEqual(127);
        }
      }),
    );
  });

  it('rounds without bias', () => {
    const uniform = stream(2, 'rounding').uniform;
    const row = vector(0.1, -0.77, 1, 0.003, -0.0005);
    const sums = new Float64Array(row.data.length);
    const draws = 20_000;
    for (let k = 0; k < draws; k++) for (const [i, x] of fromInt8(toInt8(row, uniform)).data.entries()) sums[i]! += x;
    for (const [i, x] of row.data.entries()) {
      // Four standard errors of a variable that takes two values one scale apart.
      expect(Math.abs(sums[i]! / draws - x)).toBeLessThan((4 * 0.5) / 127 / Math.sqrt(draws));
    }
  });

  it('knows zeros, scalars and the smallest numbers, and refuses NaN', () => {
    expect([...fromInt8(toInt8({ shape: [2, 2], data: Float32Array.of(0, 0, 127, -127) })).data]).toEqual([
      0, 0, 127, -127,
    ]);
    expect([...fromInt8(toInt8({ shape: [], data: Float32Array.of(-254) })).data]).toEqual([-254]);
    expect(fromInt8(toInt8({ shape: [2, 0], data: new Float32Array(0) })).data).toHaveLength(0);
    const least = 2 ** -149;
    expect([...fromInt8(toInt8(vector(least, -3 * least))).data]).toEqual([least, -3 * least]);
    expect(() => toInt8(vector(1, NaN))).toThrow('NaN');
  });
});

describe('top-k', () => {
  const tensors: Tensors = new Map([
    ['a', vector(1, -5, 2)],
    ['b', vector(2, 0.5, -2, 4)],
  ]);

  it('keeps the largest over all tensors together, of equal ones the first', () => {
    const kept = topK(tensors, 4);
    expect([...fromTopK(kept).get('a')!.data]).toEqual([0, -5, 2]);
    expect([...fromTopK(kept).get('b')!.data]).toEqual([2, 0, 0, 4]);
    expect(sameBits(fromTopK(topK(tensors, 7)), tensors)).toBe(true);
  });

  it('keeps exactly k, and nothing dropped is larger than anything kept', () => {
    fc.assert(
      fc.property(likeTensors(1), fc.double({ min: 0, max: 1, noNaN: true }), ([given], share) => {
        const total = countNumbers(given!);
        if (total === 0) return;
        const keep = Math.max(1, Math.floor(share * total));
        const kept = topK(given!, keep);
        expect([...kept.values()].reduce((sum, { indices }) => sum + indices.length, 0)).toBe(keep);
        const dense = fromTopK(kept);
        let [least, dropped] = [Infinity, 0];
        for (const [name, { data }] of given!) {
          const chosen = new Set(kept.get(name)!.indices);
          for (const [i, x] of data.entries()) {
            if (chosen.has(i)) least = Math.min(least, Math.abs(x));
            else dropped = Math.max(dropped, Math.abs(x));
            expect(dense.get(name)!.data[i]).toBe(chosen.has(i) ? x : 0);
          }
        }
        expect(dropped).toBeLessThanOrEqual(least);
      }),
    );
  });

  it('refuses counts that are none', () => {
    for (const keep of [0, 8, 1.5, NaN]) expect(() => topK(tensors, keep)).toThrow('from 1 to 7');
    for (const share of [0, 1.1, NaN]) expect(() => largest(share)(tensors)).toThrow('above 0 and at most 1');
    expect(() => topK(new Map([['a', vector(Infinity)]]), 1)).toThrow('"a" holds Infinity');
  });
});

describe('an update on its way out', () => {
  it('with error feedback loses nothing: Σ sent + error = Σ updates, exactly', () => {
    // Multiples of 2⁻⁸ add up without rounding, so that “exactly” can be asked for.
    const dyadic = fc.integer({ min: -1000, max: 1000 }).map((n) => n / 256);
    fc.assert(
      fc.property(likeTensors(8, dyadic), fc.constantFrom(0.1, 0.3, 1), (updates, share) => {
        if (countNumbers(updates[0]!) === 0) return;
        let error: Tensors | undefined;
        let sent = zerosLike(updates[0]!);
        for (const update of updates) {
          const out = outgoing(update, error, { compress: largest(share) });
          error = out.error;
          sent = add(sent, out.sent);
        }
        const all = updates.reduce((sum, update) => add(sum, update));
        for (const [name, { data }] of add(sent, error!)) expect([...data]).toEqual([...all.get(name)!.data]);
      }),
    );
  });

  it('with clipping and int8 as well, to the precision of float32', () => {
    const random = stream(5, 'updates');
    let error: Tensors | undefined;
    const [sent, all] = [new Float64Array(50), new Float64Array(50)];
    for (let round = 0; round < 20; round++) {
      const update: Tensors = new Map([
        ['x', { shape: [5, 10], data: Float32Array.from({ length: 50 }, random.normal) }],
      ]);
      const out = outgoing(update, error, { compress: int8(random.uniform), bound: 1 });
      error = out.error;
      for (let i = 0; i < 50; i++) {
        sent[i]! += out.sent.get('x')!.data[i]!;
        all[i]! += update.get('x')!.data[i]!;
      }
    }
    for (let i = 0; i < 50; i++) expect(sent[i]! + error!.get('x')!.data[i]!).toBeCloseTo(all[i]!, 4);
  });

  it('never exceeds the bound, though int8 rounding would: the order matters', () => {
    const update: Tensors = new Map([['x', vector(1, ...Array.from({ length: 400 }, () => 0.004))]]);
    const bound = norm(update);
    const upwards = int8(() => 0.999);
    // Clip first, compress then: too long.
    expect(norm(upwards(outgoing(update, undefined, { bound }).sent).tensors)).toBeGreaterThan(bound * 1.005);
    const out = outgoing(update, undefined, { compress: upwards, bound });
    expect(norm(out.sent)).toBeLessThanOrEqual(bound);
    expect(out.clipped).toBe(true);
    expect(out.norm).toBeGreaterThan(bound);
  });

  it('without options is the update itself, and refuses an error of another shape', () => {
    const update: Tensors = new Map([['x', vector(1, 2)]]);
    const out = outgoing(update, undefined, {});
    expect(sameBits(out.sent, update)).toBe(true);
    expect([...out.error.get('x')!.data]).toEqual([0, 0]);
    expect(() => outgoing(update, new Map([['x', vector(1)]]), {})).toThrow('do not fit');
  });
});
