import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Schedule } from './optimizer.ts';
import { constant, rateAt, shareOfRound, warmupCosine, warmupLinear } from './schedules.ts';

const first10 = (schedule: Schedule): number[] => Array.from({ length: 10 }, (_, step) => schedule(step));

describe('schedules', () => {
  // The values that Transformers' own tests expect (tests/optimization/test_optimization.py), rate 10 over 10 steps.
  it.each([
    ['constant', constant(10), [10, 10, 10, 10, 10, 10, 10, 10, 10, 10]],
    ['constant with 4 warm-up steps', constant(10, 4), [0, 2.5, 5, 7.5, 10, 10, 10, 10, 10, 10]],
    ['linear with 2', warmupLinear(10, 2, 10), [0, 5, 10, 8.75, 7.5, 6.25, 5, 3.75, 2.5, 1.25]],
    ['cosine with 2', warmupCosine(10, 2, 10), [0, 5, 10, 9.61, 8.53, 6.91, 5, 3.08, 1.46, 0.38]],
  ])('%s', (_, schedule, expected) => {
    for (const [step, rate] of first10(schedule).entries()) expect(Math.abs(rate - expected[step]!)).toBeLessThan(0.01);
  });

  it('have their closed forms', () => {
    for (const step of [3, 17, 99]) {
      expect(warmupLinear(0.3, 0, 100)(step)).toBeCloseTo(0.3 * (1 - step / 100), 12);
      expect(warmupCosine(0.3, 0, 100)(step)).toBeCloseTo(0.3 * Math.cos((Math.PI * step) / 200) ** 2, 12);
    }
  });

  it('begin at the whole rate without warm-up, and stay at 0 past their end', () => {
    for (const schedule of [warmupLinear(2, 0, 5), warmupCosine(2, 0, 5)]) {
      expect(schedule(0)).toBe(2);
      for (const step of [5, 6, 1000]) expect(schedule(step)).toBeCloseTo(0, 12);
    }
    expect(warmupLinear(2, 5, 5)(4)).toBeCloseTo(1.6, 12);
    expect(warmupLinear(2, 9, 5)(8)).toBeCloseTo(16 / 9, 12);
  });

  it('are checked where they are used', () => {
    expect(rateAt(0.5, 7)).toBe(0.5);
    expect(rateAt((step) => step / 10, 7)).toBe(0.7);
    expect(() => rateAt(() => -1, 3)).toThrow('the learning rate of step 3 is -1; it must be at least 0');
    expect(() => rateAt(Infinity, 0)).toThrow('is Infinity');
  });
});

describe('a rate over rounds', () => {
  const shares = (schedule: 'linear' | 'cosine', floor: number, rounds: number): number[] =>
    Array.from({ length: rounds }, (_, round) => shareOfRound({ schedule, floor }, round, rounds));

  it('has its closed form', () => {
    expect(shares('linear', 0, 4)).toEqual([1, 0.75, 0.5, 0.25]);
    shares('linear', 0.2, 5).forEach((share, t) => expect(share).toBeCloseTo(0.2 + 0.8 * (1 - t / 5), 15));
    expect(shares('cosine', 0, 2)).toEqual([1, expect.closeTo(0.5, 15)]);
    // OpenFedLLM's example: 300 rounds from 5e-5 towards 1e-6.
    shares('cosine', 0.02, 300).forEach((share, t) =>
      expect(5e-5 * share).toBeCloseTo(1e-6 + 0.5 * (5e-5 - 1e-6) * (1 + Math.cos((Math.PI * t) / 300)), 18),
    );
  });

  it('begins at the whole rate, falls in every round, and stays above the floor that the next would reach', () => {
    const schedules = fc.constantFrom('linear' as const, 'cosine' as const);
    const floors = fc.double({ min: 0, max: 0.99, noNaN: true });
    fc.assert(
      fc.property(schedules, floors, fc.integer({ min: 1, max: 300 }), (schedule, floor, rounds) => {
        const all = shares(schedule, floor, rounds);
        expect(all[0]).toBe(1);
        const next = schedule === 'linear' ? 1 / rounds : 0.5 * (1 + Math.cos(Math.PI * (1 - 1 / rounds)));
        expect(all.at(-1)).toBeCloseTo(floor + (1 - floor) * next, 12);
        expect(all.every((share, t) => share > floor && (t === 0 || share < all[t - 1]!))).toBe(true);
      }),
    );
  });

  it('has no share for a round that there is not', () => {
    expect(() => shareOfRound({ schedule: 'linear', floor: 0 }, 4, 4)).toThrow('round 5 of 4 has no learning rate');
    expect(() => shareOfRound({ schedule: 'linear', floor: 0 }, NaN, 4)).toThrow('has no learning rate');
  });
});
