import { describe, expect, test } from 'vitest';
import { stream } from '../tensor/random.ts';
import { chance, discreteGaussian, wordsFrom, type Words } from './discrete-gaussian.ts';

/** Repeatable words in place of the system's. */
const seeded = (seed: number): Words => {
  const random = stream(seed, 'words');
  return () => random.integer(2 ** 32);
};

/** The probabilities of −reach … reach, from the definition. */
function law(variance: number, reach: number): number[] {
  const weights = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * variance)));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
}

describe('discrete Gaussian draws', () => {
  test.each([1, 3, 20])('of variance %i have its law: χ² over all values', (variance) => {
    const count = 60_000;
    const reach = Math.ceil(7 * Math.sqrt(variance));
    const draw = discreteGaussian(variance, seeded(variance));
    const seen = new Map<number, number>();
    for (let i = 0; i < count; i++) {
      const x = draw();
      seen.set(x, (seen.get(x) ?? 0) + 1);
    }
    // Cells of at least ten expected, the tails in one.
    let [statistic, cells, restSeen, restExpected] = [0, 0, count, count];
    for (const [i, p] of law(variance, reach).entries()) {
      const expected = p * count;
      if (expected < 10) continue;
      const observed = seen.get(i - reach) ?? 0;
      statistic += (observed - expected) ** 2 / expected;
      cells++;
      restSeen -= observed;
      restExpected -= expected;
    }
    statistic += (restSeen - restExpected) ** 2 / Math.max(restExpected, 1);
    // Mean `cells`, deviation √(2·cells); 4 of them and a little, decided once by the seed.
    expect(cells).toBeGreaterThan(5);
    expect(statistic).toBeLessThan(cells + 4 * Math.sqrt(2 * cells) + 8);
  });

  test('of a large variance have its moments', () => {
    const variance = 2 ** 48 + 12_345;
    const deviation = Math.sqrt(variance);
    const draw = discreteGaussian(variance, seeded(5));
    const count = 40_000;
    const draws = Array.from({ length: count }, () => draw() / deviation);
    const mean = (of: (x: number) => number): number => draws.reduce((sum, x) => sum + of(x), 0) / count;
    expect(Math.abs(mean((x) => x))).toBeLessThan(4 / Math.sqrt(count));
    expect(Math.abs(mean((x) => x * x) - 1)).toBeLessThan(4 * Math.sqrt(2 / count));
    expect(Math.abs(mean((x) => x ** 4) - 3)).toBeLessThan(4 * Math.sqrt(96 / count));
  });

  test('are whole numbers from the system, never the same twice, and of whole variances only', () => {
    const draw = discreteGaussian(2 ** 50);
    const draws = Array.from({ length: 200 }, draw);
    expect(draws.every(Number.isInteger)).toBe(true);
    expect(new Set(draws).size).toBe(200);
    for (const wrong of [0, 2.5, -1, NaN, 2 ** 63]) expect(() => discreteGaussian(wrong)).toThrow('whole number');
    // The same words are the same draws.
    const [a, b] = [discreteGaussian(9, seeded(1)), discreteGaussian(9, seeded(1))];
    expect(Array.from({ length: 50 }, a)).toEqual(Array.from({ length: 50 }, b));
  });
});

test('a chance is decided by as many digits as it takes', () => {
  const scripted = (...words: number[]): { readonly words: Words; readonly left: () => number } => ({
    words: () => words.shift()!,
    left: () => words.length,
  });
  const third = (first: number, ...more: number[]) => {
    const source = scripted(first, ...more);
    return [chance(1 / 3, 2 ** -48, () => [1n, 3n], source.words), source.left()];
  };
  // ⅓ is 0.5555… in hexadecimal digits.
  const same = 0x5555_5555;
  expect(third(same - 1)).toEqual([true, 0]);
  expect(third(same + 1)).toEqual([false, 0]);
  expect(third(same, same, same - 1)).toEqual([true, 0]);
  expect(third(same, same, same, same + 1)).toEqual([false, 0]);
  // Sure and impossible ones, whatever the words.
  for (const word of [0, 2 ** 32 - 1]) {
    expect(chance(1, 2 ** -48, () => [1n, 1n], scripted(word).words)).toBe(true);
    expect(chance(0, 2 ** -48, () => [0n, 1n], scripted(word).words)).toBe(false);
  }
  expect(wordsFrom((words) => void words.fill(7))()).toBe(7);
});
