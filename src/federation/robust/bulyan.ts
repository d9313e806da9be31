import { select } from '../../tensor/select.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { coordinateWise, medianOf } from './coordinate-wise.ts';
import { squaredDistances, type Distances } from './distances.ts';
import { krumScores, scoresAmong } from './krum.ts';
import { requireBad, requireEnough, requireUpdates } from './updates.ts';

/**
 * Bulyan over Krum: θ = n − 2f updates are chosen one after the other, each the best of those left by Krum's score among them;
 * then each coordinate is the mean of its θ − 2f values nearest to its median. El Mhamdi, Guerraoui and Rouault, The hidden
 * vulnerability of distributed learning in Byzantium, ICML 2018. Throws UserError below 4f + 3 updates.
 * `distances` may be those of products; the second step is coordinate-wise all the same.
 */
export function bulyan(updates: readonly Tensors[], bad: number, distances = squaredDistances(updates)): Tensors {
  requireUpdates(updates);
  const nearest = updates.length - 4 * bad;
  const chosen = bulyanChoice(distances, bad).map((i) => updates[i]!);
  const apart = new Float64Array(chosen.length);
  return coordinateWise(chosen, (values) => meanNearMedian(values, nearest, apart));
}

/** The indices of the θ updates of the first step, in the order in which they are chosen. */
export function bulyanChoice(distances: Distances, bad: number): number[] {
  requireBad(bad);
  requireEnough('Bulyan', distances.count, bad, { factor: 4, more: 3 });
  const left = Array.from({ length: distances.count }, (_, i) => i);
  const chosen: number[] = [];
  // With one neighbour, two that are nearest to each other have equal scores: their scores among all decide.
  const overall = krumScores(distances, bad);
  while (chosen.length < distances.count - 2 * bad) {
    // Towards the end too few are left for Krum's own number of neighbours; one is the least that says anything.
    const scores = scoresAmong(left, distances, Math.max(1, left.length - bad - 2));
    const best = scores.reduce((best, score, i) => {
      const lead = score - scores[best]! || overall[left[i]!]! - overall[left[best]!]!;
      return lead < 0 ? i : best;
    }, 0);
    chosen.push(...left.splice(best, 1));
  }
  return chosen;
}

/** The mean of the `keep` values nearest to the median; of two equally far ones the larger goes. Reorders the values; `apart` is for as many. */
export function meanNearMedian(values: Float64Array, keep: number, apart = new Float64Array(values.length)): number {
  const middle = medianOf(values);
  for (let i = 0; i < values.length; i++) apart[i] = Math.abs(values[i]! - middle);
  select(apart, 0, apart.length, keep - 1);
  const farthest = apart[keep - 1]!;
  let [sum, kept] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const nearer = Number(Math.abs(values[i]! - middle) < farthest);
    sum += nearer * values[i]!;
    kept += nearer;
  }
  for (const side of [-1, 1]) {
    for (let i = 0; i < values.length && kept < keep; i++) {
      const from = values[i]! - middle;
      if (side * from !== farthest || (side > 0 && from === 0)) continue;
      sum += values[i]!;
      kept++;
    }
  }
  return sum / keep;
}
