import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { summationError } from '../../guard/accountant/distributed.ts';
import { scalar, UNCLIPPED } from '../../guard/beside.ts';
import { discreteGaussian } from '../../guard/discrete-gaussian.ts';
import type { SumNoise } from '../../methods/stage.ts';
import { tensor, zeros } from '../../tensor/tensors.ts';
import { defaultSecureSettings as settings, secureSum } from './combiner.ts';
import { addWords } from './masks.ts';
import { noisePlan, wordsOfSeed } from './noise.ts';
import { leastHonest, secureParameters } from './parameters.ts';
import { sumVector } from './vector.ts';

const totals = { tokens: 0, processed: 0, lossSum: 0 };
const like = (numbers: number) => new Map([['a', { shape: [numbers] }]]);

describe('the noise of each client', () => {
  test('is together, of the least honest ones in a sum, what z asks for and hardly more, with room for it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 300 }),
        fc.double({ min: 0.05, max: 100, noNaN: true }),
        fc.double({ min: 1e-4, max: 1e3, noNaN: true }),
        fc.integer({ min: 1, max: 10_000_000 }),
        (clients, noise, bound, numbers) => {
          const honest = leastHonest(clients, settings);
          const plan = noisePlan(like(numbers), { noise, bound, updates: noise }, { clients, honest, bits: 64 });
          const { point, variance } = plan.of('a');
          expect(plan.worth).toBeGreaterThanOrEqual(noise);
          const together = Math.sqrt(honest * variance) * point.step;
          expect(together).toBeGreaterThanOrEqual(noise * bound);
          // The rounding's part: √numbers·step/2 beside the bound.
          const most = noise * (bound + (Math.sqrt(numbers) * point.step) / 2) * (1 + 1e-8);
          expect(together).toBeLessThanOrEqual(most);
          expect(Number.isInteger(Math.log2(point.step))).toBe(true);
          expect(clients * (bound / point.step + 1 + 16 * Math.sqrt(variance))).toBeLessThan(2 ** 63);
        },
      ),
    );
  });

  test('is by the numbers, for ten clients of whom two may be corrupt', () => {
    // ⌊(10 + 2)/2⌋ + 1 = 7 make a sum, 5 of them honest.
    expect(leastHonest(10, settings)).toBe(5);
    const plan = noisePlan(like(100), { noise: 2, bound: 0.5, updates: 2 }, { clients: 10, honest: 5, bits: 64 });
    // 2·½/√5 = 0.447 is above ¼: steps of 2^(−2 − 24).
    const { point, variance } = plan.of('a');
    expect(point.step).toBe(2 ** -26);
    const sensitivity = 0.5 * 2 ** 26 + 10 / 2;
    expect(Math.sqrt(variance)).toBeCloseTo((2 * sensitivity) / Math.sqrt(5), 0);
    expect(plan.worth).toBeCloseTo(2, 8);
  });

  test('is more where steps are so coarse that the sum is not quite a discrete Gaussian, by τ', () => {
    const noise: SumNoise = { noise: 0.5, bound: 1, updates: 0.5 };
    // Room for a deviation of about a step: 2²⁶·(1/step + 1 + 16·σ/step) ≤ 2³¹.
    const clients = 2 ** 26;
    const plan = noisePlan(like(4), noise, { clients, honest: 2, bits: 32 });
    const { point, variance } = plan.of('a');
    const deviation = Math.sqrt(variance);
    expect(deviation).toBeLessThan(2);
    const tau = summationError(2, deviation);
    expect(tau).toBeGreaterThan(0);
    const sensitivity = 1 / point.step + 1;
    const spent = sensitivity / (Math.SQRT2 * deviation) + tau * 2;
    expect(plan.worth).toBeCloseTo(1 / spent, 6);
    expect(spent).toBeLessThanOrEqual(1 / noise.noise);
    // And none where there is no room at all.
    expect(() => noisePlan(like(4), noise, { clients: 2 ** 30, honest: 2, bits: 32 })).toThrow(
      '32 bits have no room for noise of 0.5 among 1073741824 clients',
    );
  });

  test('on a count beside the updates is its own, and both together cost z', () => {
    const count = 2;
    const updates = (1 - (2 * count) ** -2) ** -0.5;
    const both = new Map<string, { shape: readonly number[] }>([...like(50), [UNCLIPPED, scalar(0.5)]]);
    const plan = noisePlan(both, { noise: 1, bound: 0.1, updates, count }, { clients: 10, honest: 5, bits: 64 });
    const of = (name: string): number => Math.sqrt(5 * plan.of(name).variance) * plan.of(name).point.step;
    expect(of('a')).toBeCloseTo(updates * 0.1, 6);
    expect(of(UNCLIPPED)).toBeCloseTo(count, 6);
    expect(plan.worth).toBeGreaterThanOrEqual(1);
    expect(plan.worth).toBeLessThan(1 + 1e-5);
  });
});

describe('a sum with noise', () => {
  const noise: SumNoise = { noise: 1, bound: 1, updates: 1 };
  const update = new Map([
    ['b', tensor([2], [0.5, -0.25])],
    ['a', tensor([1, 2], [0.1, 0.2])],
  ]);

  test('is Σ (update + noise), exactly, in steps', () => {
    const vector = sumVector(update, 4, settings, noise);
    const seeds = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte));
    const words = seeds.map((seed) => vector.encode({ update, weight: 1, totals }, wordsOfSeed(seed)));
    const all = words[0]!.slice();
    for (const more of words.slice(1)) addWords(all, more, 64);
    const { sum, weight } = vector.decode(all);
    expect(weight).toBe(3);
    const plan = noisePlan(update, noise, { clients: 4, honest: leastHonest(4, settings), bits: 64 });
    const { point, variance } = plan.of('a');
    const expected = new Map([
      ['a', [0, 0]],
      ['b', [0, 0]],
    ]);
    for (const seed of seeds) {
      const source = wordsOfSeed(seed);
      for (const [name, steps] of expected) {
        const draw = discreteGaussian(variance, source);
        for (const [i, x] of update.get(name)!.data.entries()) steps[i]! += Math.round(x / point.step) + draw();
      }
    }
    for (const [name, steps] of expected)
      expect([...sum.get(name)!.data]).toEqual(steps.map((x) => Math.fround(x * point.step)));
    // The same seed is the same words, and another is not.
    expect(vector.encode({ update, weight: 1, totals }, wordsOfSeed(seeds[0]!))).toEqual(words[0]);
    expect(words[1]).not.toEqual(words[0]);
  });

  test('has z²C² of it with the least clients, even less the corrupt ones’, and more with everybody', async () => {
    const names = ['ann', 'ben', 'cho', 'dee', 'eli', 'fay', 'gus'];
    expect([secureParameters(7, settings).least, leastHonest(7, settings)]).toEqual([5, 3]);
    const numbers = 20_000;
    const nothing = new Map([['a', zeros([numbers])]]);
    for (const present of [5, 7]) {
      const sum = secureSum(names, nothing, settings, { noise: 2, bound: 0.3, updates: 2 });
      expect(sum.honest).toBe(3);
      for (const client of names.slice(0, present)) sum.add({ client, update: nothing, weight: 1 }, totals);
      const { combined } = (await sum.finish())!;
      if (combined.kind !== 'sum') throw new Error('no sum');
      const variance = combined.sum.get('a')!.data.reduce((total, x) => total + x * x, 0) / numbers;
      // Three of them have (2·0.3)²; six deviations of the estimate.
      expect(Math.abs(variance / 0.36 - present / 3)).toBeLessThan(6 * (present / 3) * Math.sqrt(2 / numbers));
      expect((variance * 3) / present).toBeGreaterThan(0.36 * (1 - 6 * Math.sqrt(2 / numbers)));
    }
  });

  test('is not made of what the noise does not cover', () => {
    const sum = secureSum(['ann', 'ben', 'cho'], update, settings, noise);
    expect(sum.problem(update, 1)).toBeUndefined();
    expect(sum.problem(update, 2)).toBe('its update does not have weight 1, and with privacy all count the same');
    const long = new Map([...update, ['b', tensor([2], [1, 0.5])]]);
    expect(sum.problem(long, 1)).toBe('its update is longer than the bound of 1');
    const counted = new Map([...update, [UNCLIPPED, scalar(0.4)]]);
    const counting = secureSum(['ann', 'ben', 'cho'], counted, settings, { ...noise, updates: 1.1, count: 2 });
    expect(counting.problem(counted, 1)).toBe('its update does not say as it should whether it was clipped');
  });

  test('has words of AES-256 in counter mode', () => {
    // AES-256 of a block of zeros under a key of zeros: DC95C078 A2408989 AD48A214 92842087 (NIST AESAVS).
    const words = wordsOfSeed(new Uint8Array(32));
    expect([words(), words(), words(), words()]).toEqual([0x78c0_95dc, 0x8989_40a2, 0x14a2_48ad, 0x8720_8492]);
  });
});
