import { describe, expect, test } from 'vitest';
import { equivalentNoise, summationError } from './distributed.ts';
import { rdpEpsilon } from './rdp.ts';

describe('noise that clients add themselves', () => {
  test('τ is its formula, by hand for three clients of deviation ½', () => {
    // e^{−2π²/4·½} = e^{−π²/4} and e^{−2π²/4·⅔} = e^{−π²/3}.
    const byHand = 10 * (0.0848049724711137 + 0.03725876224754124);
    expect(summationError(3, 0.5)).toBeCloseTo(byHand, 12);
    expect(summationError(1, 0.5)).toBe(0);
    expect(summationError(50, 10)).toBe(0);
    expect(() => summationError(3, 0.4)).toThrow('noise of 0.4 steps is too little');
  });

  test('costs on a coarse grid what the formula says, and on a fine one what one Gaussian of all their noise does', () => {
    const coarse = { numbers: 4, sensitivity: 3, deviation: 1 };
    // 3/√2 and 2τ with τ = 10·e^{−π²}.
    expect(1 / equivalentNoise([coarse], 2)).toBeCloseTo(3 / Math.SQRT2 + 20 * Math.exp(-(Math.PI ** 2)), 12);
    const fine = { numbers: 1e6, sensitivity: 2 ** 20, deviation: 2 ** 20 / 5 };
    const noise = equivalentNoise([fine], 25);
    expect(noise).toBeCloseTo(1, 12);
    const { epsilon } = rdpEpsilon([{ noise, rate: 1, steps: 10 }], 1e-5);
    expect(epsilon).toBeCloseTo(rdpEpsilon([{ noise: 1, rate: 1, steps: 10 }], 1e-5).epsilon, 9);
  });

  test('of several kinds costs the inverse root of the sum of inverse squares', () => {
    const part = { numbers: 1, sensitivity: 1000, deviation: 2000 };
    const other = { numbers: 1, sensitivity: 500, deviation: 3000 };
    const expected = (2 ** -2 / 9 + 6 ** -2 / 9) ** -0.5;
    expect(equivalentNoise([part, other], 9)).toBeCloseTo(expected, 12);
  });

  test('D_α of sums of two on a coarse grid, computed from their distribution, keeps to the bound', () => {
    // The exact law of Z₁ + Z₂ by convolution, and its Rényi divergence from itself moved by Δ.
    const reach = 60;
    for (const [deviation, moved] of [
      [0.5, 1],
      [0.7, 2],
      [2, 3],
    ] as const) {
      const weights = Array.from({ length: 2 * reach + 1 }, (_, i) =>
        Math.exp(-((i - reach) ** 2) / (2 * deviation ** 2)),
      );
      const total = weights.reduce((a, b) => a + b);
      const one = weights.map((weight) => weight / total);
      const two = Array.from({ length: 4 * reach + 1 }, (_, i) =>
        one.reduce((sum, p, j) => sum + p * (one[i - j] ?? 0), 0),
      );
      const noise = equivalentNoise([{ numbers: 1, sensitivity: moved, deviation }], 2);
      for (const order of [1.5, 2, 4]) {
        let moment = 0;
        // Where both have digits to spare.
        for (let i = moved; i < two.length; i++) {
          const [p, q] = [two[i]!, two[i - moved]!];
          if (p > 1e-280 && q > 1e-280) moment += q * (p / q) ** order;
        }
        const divergence = Math.log(moment) / (order - 1);
        // With a deviation of 2 both are the same but for rounding.
        expect(divergence).toBeLessThan((order / (2 * noise ** 2)) * (1 + 1e-12));
        expect(divergence).toBeGreaterThan((0.3 * (order * moved ** 2)) / (4 * deviation ** 2));
      }
    }
  });
});
