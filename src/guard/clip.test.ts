import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { likeTensors } from '../../tests/arbitrary.ts';
import { golden } from '../../tests/shared.ts';
import { clip } from '../../tests/support/guards.ts';
import { stream } from '../tensor/random.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { norm } from '../tensor/tensors.ts';
import { defaultCountNoise, nextBound, unclippedShare, updateNoise } from './adaptive-clip.ts';

interface Case {
  readonly updates: readonly (readonly number[])[];
  readonly norms: readonly number[];
  readonly clip: { readonly C: number; readonly clipped: readonly (readonly number[])[] };
}
const { outliers_1: one, outliers_2: two } = golden<{
  readonly robust: Readonly<Record<'outliers_1' | 'outliers_2', Case>>;
}>('aggregation.json').robust;
/** The numbers as two tensors, since the norm is over all of them together. */
const split = (numbers: readonly number[]): Tensors =>
  new Map([
    ['a', { shape: [2], data: Float32Array.from(numbers.slice(0, 2)) }],
    ['b', { shape: [1, numbers.length - 2], data: Float32Array.from(numbers.slice(2)) }],
  ]);
const flat = (tensors: Tensors): number[] => [...tensors.values()].flatMap(({ data }) => [...data]);

describe('clipping', () => {
  it.each([one, two])('is the reference, %#', ({ updates, norms, clip: { C, clipped } }) => {
    for (const [i, update] of updates.entries()) {
      const found = clip(split(update), C);
      expect(found.norm).toBeCloseTo(norms[i]!, 12);
      expect(found.clipped).toBe(norms[i]! > C);
      for (const [j, x] of flat(found.update).entries()) expect(Math.abs(x - clipped[i]![j]!)).toBeLessThan(1e-6);
    }
  });

  it('never leaves more than the bound, as the float32 numbers stand, nor turns or lengthens an update', () => {
    fc.assert(
      fc.property(likeTensors(1), fc.double({ min: 1e-6, max: 100, noNaN: true }), ([update], bound) => {
        const before = norm(update!);
        const { update: after, clipped } = clip(update!, bound);
        expect(norm(after)).toBeLessThanOrEqual(Math.min(before, bound));
        expect(clipped).toBe(before > bound);
        if (!clipped) expect(after).toBe(update);
        else expect(norm(after)).toBeGreaterThan(bound * (1 - 1e-5));
      }),
    );
  });

  it('leaves an update of zeros, and refuses what has no norm or bound', () => {
    const nothing = split([0, 0, 0, 0]);
    expect(clip(nothing, 1)).toEqual({ update: nothing, norm: 0, clipped: false });
    expect(() => clip(split([1, NaN, 0, 0]), 1)).toThrow('norm NaN');
    expect(() => clip(split([1, Infinity, 0, 0]), 1)).toThrow('norm Infinity');
    for (const bound of [0, -1, NaN, Infinity]) expect(() => clip(nothing, bound)).toThrow('a clipping bound must be');
  });
});

/** Σ(b − ½). */
const countOf = (bits: readonly boolean[]): number => bits.reduce((sum, bit) => sum + (bit ? 0.5 : -0.5), 0);

describe('adaptive clipping', () => {
  // The paper's.
  const options = { quantile: 0.5, rate: 0.2 };

  it('shrinks the bound where none was clipped, and widens it where all were', () => {
    expect(nextBound(1, 1, options)).toBeCloseTo(0.904837, 6);
    expect(nextBound(1, 0, options)).toBeCloseTo(1.105171, 6);
    expect(nextBound(3, 0.5, options)).toBe(3);
  });

  it('splits the noise between updates and count', () => {
    expect(updateNoise(1, defaultCountNoise(100))).toBeCloseTo(1.005038, 6);
    expect(() => updateNoise(1, 0.5)).toThrow('must be above 0.5');
    // Two mechanisms of sensitivity 1 and ½ cost what one of z costs: 1/z² = 1/z_Δ² + 1/(2σ_b)².
    expect(updateNoise(0.7, 4) ** -2 + 8 ** -2).toBeCloseTo(0.7 ** -2, 12);
  });

  it('settles where the wanted share of norms is unclipped, from either side', () => {
    const random = stream(3, 'norms');
    const norms = Array.from({ length: 400 }, () => Math.exp(random.normal()));
    const sorted = norms.toSorted((a, b) => a - b);
    for (const quantile of [0.3, 0.5, 0.8]) {
      for (const start of [0.05, 50]) {
        let bound = start;
        for (let round = 0; round < 400; round++) {
          const unclipped = norms.map((norm) => norm <= bound);
          const share = unclippedShare(countOf(unclipped) + 2 * random.normal(), 400);
          bound = nextBound(bound, share, { quantile, rate: 0.2 });
        }
        expect(bound).toBeGreaterThan(sorted[Math.floor((quantile - 0.05) * 400)]!);
        expect(bound).toBeLessThan(sorted[Math.floor((quantile + 0.05) * 400)]!);
      }
    }
  });

  it('estimates the share against an expected number of clients: each client moves it by half', () => {
    const share = (bits: boolean[]) => unclippedShare(countOf(bits), 4);
    expect(share([true, true, false, false])).toBe(0.5);
    expect(share([true, true, true, true])).toBe(1);
    expect(share([])).toBe(0.5);
    expect(share([true])).toBe(0.625);
    expect(unclippedShare(countOf([true]) + 2, 4)).toBe(1.125);
    expect(() => unclippedShare(0, 0)).toThrow('above 0');
  });
});
