import { UserError } from '../../errors.ts';
import { select } from '../../tensor/select.ts';
import { floorOfShare } from '../../tensor/share.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { requireUpdates } from './updates.ts';

/** A statistic of the values of one coordinate, in any order; it may reorder them. */
export type OfValues = (values: Float64Array) => number;

/** A statistic of every coordinate over all updates, rounded to float32 once. */
export function coordinateWise(updates: readonly Tensors[], statistic: OfValues): Tensors {
  requireUpdates(updates);
  const values = new Float64Array(updates.length);
  const out = new Map<string, Tensor>();
  for (const [name, { shape, data }] of updates[0]!) {
    const all = updates.map((update) => update.get(name)!.data);
    const result = new Float32Array(data.length);
    for (let i = 0; i < result.length; i++) {
      for (let k = 0; k < values.length; k++) values[k] = all[k]![i]!;
      result[i] = statistic(values);
    }
    out.set(name, { shape, data: result });
  }
  return out;
}

/** The middle value; of an even number the mean of the two in the middle. */
export const medianOf: OfValues = (values) => {
  const half = values.length >> 1;
  select(values, 0, values.length, half);
  if (values.length % 2 === 1) return values[half]!;
  let below = values[0]!;
  for (let i = 1; i < half; i++) if (values[i]! > below) below = values[i]!;
  return (below + values[half]!) / 2;
};

/** The coordinate-wise median. Withstands fewer than half of the updates: each coordinate stays among the others' values. */
export const median = (updates: readonly Tensors[]): Tensors => coordinateWise(updates, medianOf);

/** How many values a trimmed mean cuts at each end. Throws UserError where none would be left. */
export function cutOf(share: number, count: number): number {
  if (!(share >= 0 && share < 0.5)) {
    throw new UserError(
      `the share that a trimmed mean cuts at each end must be at least 0 and below 0.5, not ${share}`,
    );
  }
  return floorOfShare(share, count);
}

/**
 * The coordinate-wise mean without the ⌊share·n⌋ largest and smallest values. Withstands as many bad updates as it cuts at an
 * end. Yin, Chen, Ramchandran and Bartlett, Byzantine-robust distributed learning, ICML 2018.
 */
export function trimmedMean(updates: readonly Tensors[], share: number): Tensors {
  const cut = cutOf(share, updates.length);
  return coordinateWise(updates, (values) => meanWithout(values, cut));
}

/** The mean without the `cut` largest and smallest. */
function meanWithout(values: Float64Array, cut: number): number {
  const { length } = values;
  if (cut > 0) {
    select(values, 0, length, cut);
    select(values, cut, length, length - cut);
  }
  let sum = 0;
  for (let i = cut; i < length - cut; i++) sum += values[i]!;
  return sum / (length - 2 * cut);
}
