import type { LoraLayout } from './adapter.ts';
import { type Axis, magnitudeShape, normAxis } from './axis.ts';

/** What is trained, as far as its count goes; directions count as the factor they belong to. */
export type Trained = 'A' | 'B' | 'AB' | { readonly magnitudeOf: 'A' | 'B'; readonly axis: Axis };

/**
 * Numbers that are trained: rank·in for A or its directions, out·rank for B; rank or out for B's magnitudes
 * (METHOD.md, invariant 9), in or rank for A's. Summed over the modules.
 */
export function trainableCount(layout: LoraLayout, what: Trained): number {
  let count = 0;
  for (const { rank, inFeatures, outFeatures } of layout.modules) {
    if (typeof what === 'object') {
      const shape = what.magnitudeOf === 'A' ? ([rank, inFeatures] as const) : ([outFeatures, rank] as const);
      const [rows, columns] = magnitudeShape(shape, normAxis(what.magnitudeOf, what.axis));
      count += rows * columns;
    } else {
      if (what !== 'B') count += rank * inFeatures;
      if (what !== 'A') count += outFeatures * rank;
    }
  }
  return count;
}
