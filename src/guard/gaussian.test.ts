import { describe, expect, it } from 'vitest';
import { stream } from '../tensor/random.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { normalCdf } from './accountant/normal.ts';
import { cryptographicNormal, noisyMean, type FillRandom } from './gaussian.ts';

/** Repeatable words in place of the system's. */
const seeded = (seed: number): FillRandom => {
  const random = stream(seed, 'words');
  return (words) => {
    for (let i = 0; i < words.length; i++) words[i] = random.integer(2 ** 32);
  };
};

describe('cryptographic normal draws', () => {
  it('are standard normal: Kolmogorov-Smirnov, moments and no correlation of neighbours', () => {
    const normal = cryptographicNormal(seeded(1));
    const count = 40_000;
    const draws = Array.from({ length: count }, normal);
    const mean = (of: (x: number, i: number) => number): number =>
      draws.reduce((sum, x, i) => sum + of(x, i), 0) / count;
    expect(Math.abs(mean((x) => x))).toBeLessThan(4 / Math.sqrt(count));
    expect(Math.abs(mean((x) => x * x) - 1)).toBeLessThan(4 * Math.sqrt(2 / count));
    expect(Math.abs(mean((x) => x ** 4) - 3)).toBeLessThan(4 * Math.sqrt(96 / count));
    expect(Math.abs(mean((x, i) => x * (draws[i + 1] ?? 0)))).toBeLessThan(4 / Math.sqrt(count));
    const sorted = draws.toSorted((a, b) => a - b);
    const distance = sorted.reduce((most, x, i) => Math.max(most, Math.abs(normalCdf(x) - (i + 0.5) / count)), 0);
    // 1.95/√n: a chance of one in a thousand, decided once by the seed.
    expect(distance).toBeLessThan(1.95 / Math.sqrt(count));
  });

  it('come from the system, differ each time, and are finite whatever the words', () => {
    const [a, b] = [cryptographicNormal(), cryptographicNormal()];
    const draws = new Set(Array.from({ length: 500 }, () => [a(), b()]).flat());
    expect(draws.size).toBe(1000);
    for (const word of [0, 2 ** 32 - 1]) {
      const extreme = cryptographicNormal((words) => void words.fill(word))();
      expect(Math.abs(extreme)).toBeLessThan(18);
    }
  });
});

describe('the noisy mean', () => {
  const sum: Tensors = new Map([['x', { shape: [3], data: Float32Array.of(1, -2, 0.5) }]]);

  it('is (sum + noise·bound·normal)/count in float64, rounded once', () => {
    let k = 0;
    const normal = (): number => [0.1, -0.2, 0.3][k++]!;
    const out = noisyMean(sum, { bound: 2, noise: 1.5, count: 4, normal });
    expect([...out.get('x')!.data]).toEqual([(1 + 0.3) / 4, (-2 - 3 * 0.2) / 4, (0.5 + 3 * 0.3) / 4].map(Math.fround));
    expect([...sum.get('x')!.data]).toEqual([1, -2, 0.5]);
  });

  it('has the standard deviation noise·bound/count', () => {
    const zeros: Tensors = new Map([['x', { shape: [20_000], data: new Float32Array(20_000) }]]);
    const { data } = noisyMean(zeros, { bound: 0.5, noise: 3, count: 10, normal: stream(2, 'noise').normal }).get('x')!;
    const variance = data.reduce((total, x) => total + x * x, 0) / data.length;
    expect(Math.sqrt(variance) / 0.15).toBeCloseTo(1, 1.5);
  });

  it.each([{ bound: 0 }, { noise: 0 }, { noise: NaN }, { count: 0 }])('refuses %o', (wrong) => {
    expect(() => noisyMean(sum, { bound: 1, noise: 1, count: 1, normal: () => 0, ...wrong })).toThrow('above 0');
  });
});
