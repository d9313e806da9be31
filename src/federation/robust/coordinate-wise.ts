import { UserError } from '../../errors.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { requireUpdates } from './updates.ts';

/** A statistic of the values of one coordinate, given in ascending order. */
export type OfSorted = (sorted: Float64Array) => number;

/** A statistic of every coordinate over all updates, rounded to float32 once. */
export function coordinateWise(updates: readonly Tensors[], statistic: OfSorted): Tensors {
  requireUpdates(updates);
  const values = new Float64Array(updates.length);
  const out = new Map<string, Tensor>();
  for (const [name, { shape, data }] of updates[0]!) {
    const all = updates.map((update) => update.get(name)!.data);
    const result = new Float32Array(data.length);
    for (let i = 0; i < result.length; i++) {
      for (let k = 0; k < values.length; k++) values[k] = all[k]![i]!;
      sort(values);
      result[i] = statistic(values);
    }
    out.set(name, { shape, data: result });
  }
  return out;
}

/** By insertion where there are few: calls of the built-in sort would take most of the time. */
function sort(values: Float64Array): void {
  if (values.length > 48) {
    values.sort();
    return;
  }
  for (let i = 1; i < values.length; i++) {
    const value = values[i]!;
    let j = i - 1;
    for (; j >= 0 && values[j]! > value; j--) values[j + 1] = values[j]!;
    values[j + 1] = value;
  }
}

/** The middle value; of an even number the mean of the two in the middle. */
export const medianOf: OfSorted = (sorted) => {
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
};

/** The mean of sorted[from … to − 1]. */
export function meanOf(sorted: Float64Array, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += sorted[i]!;
  return sum / (to - from);
}

/** The coordinate-wise median. Withstands fewer than half of the updates: each coordinate stays among the others' values. */
export const median = (updates: readonly Tensors[]): Tensors => coordinateWise(updates, medianOf);

/** How many values a trimmed mean cuts at each end. Throws UserError where none would be left. */
export function cutOf(share: number, count: number): number {
  if (!(share >= 0 && share < 0.5)) {
    throw new UserError(
      `the share that a trimmed mean cuts at each end must be at least 0 and below 0.5, not ${share}`,
    );
  }
  // 0.29·100 is 28.999999999999996 in float64.
  return Math.floor(share * count + 1e-9);
}

/**
 * The coordinate-wise mean without the ⌊share·n⌋ largest and smallest values. Withstands as many bad updates as it cuts at an
 * end. Yin, Chen, Ramchandran and Bartlett, Byzantine-robust distributed learning, ICML 2018.
 */
export function trimmedMean(updates: readonly Tensors[], share: number): Tensors {
  const cut = cutOf(share, updates.length);
  return coordinateWise(updates, (sorted) => meanOf(sorted, cut, sorted.length - cut));
}
