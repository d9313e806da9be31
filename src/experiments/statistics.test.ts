import { array, assert, double, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stream } from '../tensor/random.ts';
import { clusterBootstrap, estimate, holm, mean, pairedDifference, quantile, standardDeviation } from './statistics.ts';

// Student (1908), additional hours of sleep gained by ten patients with two drugs; R's t.test(paired = TRUE) on `sleep`.
const drug1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
const drug2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];

describe('pairedDifference', () => {
  it("gives Student's own example as R does", () => {
    const found = pairedDifference(drug1, drug2);
    expect(found.n).toBe(10);
    expect(found.mean).toBeCloseTo(-1.58, 12);
    expect(found.low).toBeCloseTo(-2.4598858, 6);
    expect(found.high).toBeCloseTo(-0.7001142, 6);
    expect(found.p).toBeCloseTo(0.00283289, 7);
  });

  it('is certain where the differences do not vary', () => {
    expect(pairedDifference([2, 3, 5], [1, 2, 4])).toMatchObject({ mean: 1, low: 1, high: 1, p: 0 });
    expect(pairedDifference([1, 2], [1, 2])).toMatchObject({ mean: 0, p: 1 });
  });

  it('refuses unpaired lists and a single pair', () => {
    expect(() => pairedDifference([1, 2], [1])).toThrow('not 2 and 1');
    expect(() => pairedDifference([1], [2])).toThrow('at least two numbers');
  });

  it('covers the truth about as often as it says', () => {
    const random = stream(7, 'coverage');
    const trials = 2000;
    let covered = 0;
    for (let trial = 0; trial < trials; trial++) {
      const { low, high } = estimate(Array.from({ length: 5 }, () => 0.3 + random.normal()));
      if (low <= 0.3 && 0.3 <= high) covered++;
    }
    expect(covered / trials).toBeGreaterThan(0.93);
    expect(covered / trials).toBeLessThan(0.97);
  });
});

describe('clusterBootstrap', () => {
  it('repeats with its seed and differs with another', () => {
    const values = [1, 2, 4, 8, 16];
    const first = clusterBootstrap(values, mean, { seed: 3, resamples: 200 });
    expect(clusterBootstrap(values, mean, { seed: 3, resamples: 200 })).toEqual(first);
    expect(clusterBootstrap(values, mean, { seed: 4, resamples: 200 })).not.toEqual(first);
    expect(first.value).toBe(6.2);
  });

  it('finds the standard error of a mean: σ/√n with σ² over n', () => {
    const values = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];
    const found = clusterBootstrap(values, mean, { seed: 1, resamples: 20_000 });
    const sigma = standardDeviation(values) * Math.sqrt((values.length - 1) / values.length);
    expect(found.error / (sigma / Math.sqrt(values.length))).toBeCloseTo(1, 1);
    expect(Math.abs(found.error / (sigma / Math.sqrt(values.length)) - 1)).toBeLessThan(0.02);
    expect(found.low).toBeLessThan(found.value);
    expect(found.high).toBeGreaterThan(found.value);
  });

  it('tends to the exact bootstrap: all 4⁴ samples of four clusters, equally likely', () => {
    const values = [0.1, 0.4, 1.5, 2.6];
    const sums = values.reduce<number[]>((all) => all.flatMap((sum) => values.map((value) => sum + value)), [0]);
    // Means of all 256 samples lie on a grid; the drawn ones must split them in the same proportions.
    const { low, high, error } = clusterBootstrap(values, mean, { seed: 5, resamples: 40_000, confidence: 0.8 });
    const exact = sums.map((sum) => sum / 4).toSorted((x, y) => x - y);
    expect(exact.length).toBe(256);
    const step = Math.max(...exact.slice(1).map((value, i) => value - exact[i]!));
    expect(Math.abs(low - quantile(exact, 0.1))).toBeLessThan(step / 2);
    expect(Math.abs(high - quantile(exact, 0.9))).toBeLessThan(step / 2);
    expect(Math.abs(error / standardDeviation(exact) - 1)).toBeLessThan(0.02);
  });

  it('is wider over clients than over their rows where rows of a client agree', () => {
    const clients = Array.from({ length: 8 }, (_, client) => Array.from({ length: 20 }, () => client % 4));
    const overRows = clusterBootstrap(clients.flat(), mean, { seed: 1, resamples: 1000 });
    const overClients = clusterBootstrap(clients, (drawn) => mean(drawn.flat()), { seed: 1, resamples: 1000 });
    expect(overClients.value).toBe(overRows.value);
    expect((overClients.error / overRows.error) ** 2 / 20).toBeCloseTo(1, 0);
  });
});

describe('holm', () => {
  it('gives the adjusted values of statsmodels', () => {
    // statsmodels.stats.multitest.multipletests(p, method='holm')[1]
    const close = (found: readonly number[], expected: readonly number[]) => {
      for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 14);
    };
    close(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02]);
    close(holm([0.012, 0.0004, 0.2, 0.03, 0.03, 0.9]), [0.06, 0.0024, 0.4, 0.12, 0.12, 0.9]);
    expect(holm([0.3])).toEqual([0.3]);
    expect(holm([])).toEqual([]);
    expect(() => holm([0.1, Number.NaN])).toThrow('between 0 and 1');
  });

  it('lies between the raw value and Bonferroni, and keeps the order', () => {
    assert(
      property(array(double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 12 }), (p) => {
        const adjusted = holm(p);
        for (const [i, value] of p.entries()) {
          expect(adjusted[i]).toBeGreaterThanOrEqual(value);
          expect(adjusted[i]).toBeLessThanOrEqual(Math.min(1, p.length * value));
          for (const [j, other] of p.entries())
            if (value <= other) expect(adjusted[i]).toBeLessThanOrEqual(adjusted[j]!);
        }
      }),
    );
  });

  it('claims wrongly in at most α of all families of true hypotheses', () => {
    const random = stream(11, 'holm');
    const families = 4000;
    let wrong = 0;
    for (let i = 0; i < families; i++) {
      if (holm(Array.from({ length: 6 }, random.uniform)).some((p) => p < 0.05)) wrong++;
    }
    // Expected 1 − (1 − 0.05/6)⁶ = 4.9 %; four standard errors are 1.4 %.
    expect(wrong / families).toBeGreaterThan(0.035);
    expect(wrong / families).toBeLessThan(0.063);
  });
});

it('summarises lists of numbers', () => {
  expect(standardDeviation([2, 4, 4, 4, 5, 5, 7, 9])).toBeCloseTo(Math.sqrt(32 / 7), 14);
  expect(quantile([1, 2, 3, 4], 0.25)).toBe(1.75);
  expect(quantile([1, 2, 3, 4], 1)).toBe(4);
  expect(() => mean([])).toThrow('not defined');
});
