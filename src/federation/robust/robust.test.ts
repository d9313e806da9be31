import { describe, expect, it } from 'vitest';
import { golden } from '../../../tests/shared.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { bulyan, bulyanChoice, meanNearMedian } from './bulyan.ts';
import { cutOf, median, trimmedMean } from './coordinate-wise.ts';
import { squaredDistances } from './distances.ts';
import { geometricMedian } from './geometric-median.ts';
import { krum, krumChoice, krumScores, multiKrum } from './krum.ts';
import { leastUpdates, robustMean } from './rule.ts';

interface Case {
  readonly updates: readonly (readonly number[])[];
  readonly f: number;
  readonly krum_scores: readonly number[];
  readonly krum_choice: number;
  readonly multikrum: Readonly<Record<string, { readonly rows: readonly number[]; readonly mean: readonly number[] }>>;
  readonly median: readonly number[];
  readonly trimmed_mean: Readonly<Record<string, readonly number[]>>;
  readonly geometric_median: readonly number[];
}
const { robust } = golden<{ readonly robust: Readonly<Record<'outliers_1' | 'outliers_2', Case>> }>('aggregation.json');

/** A vector as two tensors of different shapes. */
const update = (numbers: readonly number[]): Tensors =>
  new Map([
    ['a', { shape: [1, 1], data: Float32Array.from(numbers.slice(0, 1)) }],
    ['b', { shape: [numbers.length - 1], data: Float32Array.from(numbers.slice(1)) }],
  ]);
const flat = (tensors: Tensors): number[] => [...tensors.values()].flatMap(({ data }) => [...data]);
const close = (found: Tensors, right: readonly number[]): void => {
  for (const [i, x] of flat(found).entries())
    expect(Math.abs(x - right[i]!)).toBeLessThan(1e-6 * (1 + Math.abs(right[i]!)));
};
const scalars = (...numbers: number[]): Tensors[] => numbers.map((x) => update([x]));

describe.each(['outliers_1', 'outliers_2'] as const)('the reference, %s', (name) => {
  const { updates: rows, f, ...right } = robust[name];
  const updates = rows.map(update);

  it('Krum and Multi-Krum', () => {
    const distances = squaredDistances(updates);
    for (const [i, score] of krumScores(distances, f).entries())
      expect(score / right.krum_scores[i]!).toBeCloseTo(1, 12);
    expect(krum(updates, f)).toBe(updates[right.krum_choice]);
    for (const [keep, { rows: chosen, mean }] of Object.entries(right.multikrum)) {
      expect(krumChoice(distances, f, Number(keep))).toEqual(chosen);
      close(multiKrum(updates, f, Number(keep)), mean);
    }
    close(multiKrum(updates, f), right.multikrum[String(updates.length - f)]!.mean);
  });

  it('median, trimmed means, geometric median', () => {
    close(median(updates), right.median);
    for (const [share, mean] of Object.entries(right.trimmed_mean)) close(trimmedMean(updates, Number(share)), mean);
    close(geometricMedian(updates), right.geometric_median);
  });
});

describe('published vectors', () => {
  const five = scalars(0, 1, 2, 3.5, 100);

  it('Krum, median and trimmed mean of 0, 1, 2, 3.5, 100', () => {
    expect(krumScores(squaredDistances(five), 1)).toEqual([5, 2, 3.25, 8.5, 18916.25]);
    expect(krum(five, 1)).toBe(five[1]);
    expect(flat(median(five))).toEqual([2]);
    close(trimmedMean(five, 0.2), [2.1666667]);
  });

  it('Krum tells apart updates that are close together far from 0, where ‖x‖² + ‖y‖² − 2xy has no digits left', () => {
    // Beside 2⁸⁰, the square of what all have in common, float64 has no room for squares of a few units.
    const far = [0, 1, 2, 3.5, 100].map((x) => update([2 ** 40, x]));
    expect(krumScores(squaredDistances(far), 1)).toEqual([5, 2, 3.25, 8.5, 18916.25]);
    expect(krum(far, 1)).toBe(far[1]);
  });

  it('geometric median of (0,0), (4,0), (0,3), (1000,1000): where the diagonals cross', () => {
    const corners = [
      [0, 0],
      [4, 0],
      [0, 3],
      [1000, 1000],
    ].map(update);
    close(geometricMedian(corners), [12 / 7, 12 / 7]);
  });

  it('geometric median that is one of the points, points that coincide, points on a line', () => {
    // The Fermat point of a triangle with an angle above 120° is that corner.
    close(
      geometricMedian(
        [
          [0, 0],
          [10, 1],
          [-10, 1],
        ].map(update),
      ),
      [0, 0],
    );
    close(
      geometricMedian(
        [
          [2, 1],
          [2, 1],
          [2, 1],
        ].map(update),
      ),
      [2, 1],
    );
    close(
      geometricMedian(
        [
          [5, 5],
          [5, 5],
          [5, 5],
          [-90, 3],
          [70, 0],
        ].map(update),
      ),
      [5, 5],
    );
    close(geometricMedian(scalars(1, 2, 7)), [2]);
    close(geometricMedian(scalars(3)), [3]);
    // An equilateral triangle: its centre; started from corners of equal sums.
    close(
      geometricMedian(
        [
          [1, 0],
          [-0.5, Math.sqrt(0.75)],
          [-0.5, -Math.sqrt(0.75)],
        ].map(update),
      ),
      [0, 0],
    );
  });

  it('Bulyan by hand: 7 updates, f = 1', () => {
    const updates = scalars(0, 1, 2, 3.5, 4, 6, 100);
    // Krum with 4, 3, 2, 1, 1 neighbours: 2 (11.25), 3.5 (12.75), 1 (10); then 4 and 6 are each other's nearest, as are 0
    // and 6 at the end: 4 has 17.25 among all and 6 has 51.25, 0 has 33.25.
    expect(bulyanChoice(squaredDistances(updates), 1)).toEqual([2, 3, 1, 4, 0]);
    // Of 0, 1, 2, 3.5, 4 the three nearest to the median 2: 1, 2, 3.5.
    close(bulyan(updates, 1), [6.5 / 3]);
    expect(meanNearMedian(Float64Array.of(0, 1, 2, 3), 2)).toBe(1.5);
    expect(meanNearMedian(Float64Array.of(-5, 0, 1, 2, 100), 3)).toBe(1);
  });

  it('a median of an even number is the mean of the two in the middle', () => {
    expect(flat(median(scalars(4, 1, 3, 100)))).toEqual([3.5]);
    // More than insertion sort is for.
    expect(flat(median(scalars(...Array.from({ length: 101 }, (_, i) => (i * 37) % 101))))).toEqual([50]);
  });
});

describe('too few updates are refused in words', () => {
  const of = (count: number): Tensors[] => scalars(...Array.from({ length: count }, (_, i) => i));

  it('Krum below 2f + 3, Bulyan below 4f + 3', () => {
    expect(() => krum(of(6), 2)).toThrow(
      'Krum withstands 2 bad client(s) among at least 2·2 + 3 = 7 updates, and there are 6: have more clients in a round',
    );
    expect(() => krum(of(7), 2)).not.toThrow();
    expect(() => bulyan(of(10), 2)).toThrow('at least 4·2 + 3 = 11 updates, and there are 10');
    expect(() => bulyan(of(11), 2)).not.toThrow();
    expect(() => multiKrum(of(7), 2, 6)).toThrow('can keep 1 to 5 of them, not 6');
    expect(() => multiKrum(of(7), 2, 0)).toThrow('can keep 1 to 5');
    for (const bad of [-1, 0.5, NaN]) expect(() => krum(of(9), bad)).toThrow('whole number of at least 0');
  });

  it('shares that cut everything, no updates, other shapes, NaN', () => {
    for (const share of [-0.1, 0.5, NaN]) expect(() => trimmedMean(of(5), share)).toThrow('at least 0 and below 0.5');
    expect(cutOf(0.29, 100)).toBe(29);
    expect(cutOf(0.49, 3)).toBe(1);
    expect(() => median([])).toThrow('no updates');
    expect(() => median([update([1]), update([1, 2])])).toThrow('do not fit each other');
    expect(() => geometricMedian([update([1]), update([NaN])])).toThrow('"a" of update 2 holds NaN');
  });

  it('as many as leastUpdates says, for every rule', () => {
    for (const rule of [
      { rule: 'krum', bad: 1 },
      { rule: 'multi-krum', bad: 2 },
      { rule: 'multi-krum', bad: 2, keep: 3 },
      { rule: 'bulyan', bad: 1 },
      { rule: 'median' },
      { rule: 'geometric-median' },
      { rule: 'trimmed-mean', share: 0.4 },
    ] as const) {
      const least = leastUpdates(rule);
      expect(() => robustMean(of(least), rule)).not.toThrow();
      expect(() => robustMean(of(least - 1), rule)).toThrow(
        least === 1 ? 'no updates' : 'have more clients in a round',
      );
    }
  });
});
