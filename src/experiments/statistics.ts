import { stream } from '../tensor/random.ts';
import { studentCritical, studentTwoSided } from './student-t.ts';

/** The arithmetic mean of at least one number. */
export function mean(values: readonly number[]): number {
  if (values.length === 0) throw new Error('The mean of no numbers is not defined.');
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The sample standard deviation (divided by n − 1) of at least two numbers. */
export function standardDeviation(values: readonly number[]): number {
  if (values.length < 2) throw new Error('A standard deviation needs at least two numbers.');
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
}

/** A mean with its two-sided Student interval. */
export interface Estimate {
  readonly n: number;
  readonly mean: number;
  /** Sample standard deviation of the values. */
  readonly sd: number;
  readonly low: number;
  readonly high: number;
  readonly confidence: number;
  /** Two-sided p-value of the mean being 0; 0 or 1 where the values do not vary. */
  readonly p: number;
}

/** Mean, standard deviation and t interval of at least two independent values, e.g. one per seed. */
export function estimate(values: readonly number[], confidence = 0.95): Estimate {
  const centre = mean(values);
  const sd = standardDeviation(values);
  const error = sd / Math.sqrt(values.length);
  const half = studentCritical(confidence, values.length - 1) * error;
  const p = error > 0 ? studentTwoSided(centre / error, values.length - 1) : centre === 0 ? 1 : 0;
  return { n: values.length, mean: centre, sd, low: centre - half, high: centre + half, confidence, p };
}

/** The paired difference a − b, value by value (the same seed, or the same client), with its t interval. */
export function pairedDifference(a: readonly number[], b: readonly number[], confidence = 0.95): Estimate {
  if (a.length !== b.length)
    throw new Error(`Pairs need two lists of the same length, not ${a.length} and ${b.length}.`);
  return estimate(
    a.map((value, i) => value - b[i]!),
    confidence,
  );
}

/**
 * Holm's adjusted p-values, in the order given: p₍ᵢ₎·(m − i + 1) over the sorted ones, never falling, at most 1. An adjusted
 * value below α keeps the chance of any false claim among all m below α, whatever their dependence.
 * Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
 */
export function holm(p: readonly number[]): number[] {
  for (const value of p) {
    if (!(value >= 0 && value <= 1)) throw new Error(`A p-value lies between 0 and 1, not ${value}.`);
  }
  const adjusted = p.map(() => 1);
  let largest = 0;
  for (const [rank, index] of [...p.keys()].toSorted((i, j) => p[i]! - p[j]!).entries()) {
    largest = Math.max(largest, Math.min(1, p[index]! * (p.length - rank)));
    adjusted[index] = largest;
  }
  return adjusted;
}

export interface BootstrapOptions {
  readonly seed: number;
  /** Samples drawn (default 2000). */
  readonly resamples?: number;
  readonly confidence?: number;
}

export interface BootstrapEstimate {
  /** The statistic of the clusters as they are. */
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** Standard deviation of the statistic over the samples. */
  readonly error: number;
}

/**
 * The cluster bootstrap: whole clusters (clients, with all that belongs to them) are drawn with replacement, since what
 * belongs to one client is not independent. Percentile interval. `statistic` sees as many clusters as were given.
 * Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
 */
export function clusterBootstrap<Cluster>(
  clusters: readonly Cluster[],
  statistic: (clusters: readonly Cluster[]) => number,
  options: BootstrapOptions,
): BootstrapEstimate {
  if (clusters.length < 2) throw new Error('A bootstrap over clients needs at least two of them.');
  const { seed, resamples = 2000, confidence = 0.95 } = options;
  const random = stream(seed, 'experiments', 'bootstrap');
  const drawn = Array.from({ length: resamples }, () =>
    statistic(clusters.map(() => clusters[random.integer(clusters.length)]!)),
  ).toSorted((x, y) => x - y);
  const tail = (1 - confidence) / 2;
  return {
    value: statistic(clusters),
    low: quantile(drawn, tail),
    high: quantile(drawn, 1 - tail),
    error: standardDeviation(drawn),
  };
}

/** The quantile of sorted values by linear interpolation (type 7 of R and numpy). */
export function quantile(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) throw new Error('A quantile of no numbers is not defined.');
  const at = (sorted.length - 1) * Math.min(1, Math.max(0, share));
  const below = Math.floor(at);
  const left = sorted[below]!;
  return left + (at - below) * ((sorted[below + 1] ?? left) - left);
}
