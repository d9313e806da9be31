import type { Tensors } from '../../tensor/tensor.ts';
import { bulyan } from './bulyan.ts';
import { median, trimmedMean } from './coordinate-wise.ts';
import { squaredDistances, type Distances } from './distances.ts';
import { geometricMedian } from './geometric-median.ts';
import { krum, multiKrum } from './krum.ts';

/** A robust rule with its numbers. `bad` is f, how many clients of a round may send anything. */
export type RobustRule =
  | { readonly rule: 'krum' | 'bulyan'; readonly bad: number }
  /** `keep`: how many of the best are averaged; by default all but the bad. */
  | { readonly rule: 'multi-krum'; readonly bad: number; readonly keep?: number }
  /** `share`: of the values of each coordinate, cut at each end. */
  | { readonly rule: 'trimmed-mean'; readonly share: number }
  | { readonly rule: 'median' | 'geometric-median' };

/**
 * What a rule makes of all updates of a round, in place of their weighted mean; weights do not count. `distances`, by default
 * those of the updates, are what Krum, Multi-Krum and Bulyan choose by.
 */
export function robustMean(
  updates: readonly Tensors[],
  rule: RobustRule,
  distances: () => Distances = () => squaredDistances(updates),
): Tensors {
  switch (rule.rule) {
    case 'krum':
      return krum(updates, rule.bad, distances());
    case 'multi-krum':
      return multiKrum(updates, rule.bad, rule.keep, distances());
    case 'bulyan':
      return bulyan(updates, rule.bad, distances());
    case 'median':
      return median(updates);
    case 'trimmed-mean':
      return trimmedMean(updates, rule.share);
    case 'geometric-median':
      return geometricMedian(updates);
  }
}

/** How many updates a rule takes at least; fewer are refused. */
export function leastUpdates(rule: RobustRule): number {
  switch (rule.rule) {
    case 'krum':
    case 'multi-krum':
      return 2 * rule.bad + 3;
    case 'bulyan':
      return 4 * rule.bad + 3;
    case 'median':
    case 'trimmed-mean':
    case 'geometric-median':
      return 1;
  }
}
