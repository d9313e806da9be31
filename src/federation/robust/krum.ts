import { UserError } from '../../errors.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { weightedMean } from '../../tensor/weighted.ts';
import { squaredDistances, type Distances } from './distances.ts';
import { requireBad, requireEnough, requireUpdates } from './updates.ts';

/**
 * Each update's sum of squared distances to its n − f − 2 nearest others. Blanchard, El Mhamdi, Guerraoui and Stainer, Machine
 * learning with adversaries, NeurIPS 2017. Throws UserError below 2f + 3 updates. Vectors: aggregation.json `krum_scores`.
 */
export function krumScores(distances: Distances, bad: number): number[] {
  requireBad(bad);
  requireEnough('Krum', distances.count, bad, { factor: 2, more: 3 });
  const everybody = Array.from({ length: distances.count }, (_, i) => i);
  return scoresAmong(everybody, distances, distances.count - bad - 2);
}

/** The scores of some updates counting only each other, for that many neighbours. */
export function scoresAmong(among: readonly number[], { count, squared }: Distances, neighbours: number): number[] {
  return among.map((i) => {
    const others = Float64Array.from(
      among.filter((j) => j !== i),
      (j) => squared[i * count + j]!,
    ).sort();
    return others.subarray(0, neighbours).reduce((sum, distance) => sum + distance, 0);
  });
}

/** The indices of the `keep` best scores, best first; of equal ones the first. At most n − f can be kept. */
export function krumChoice(distances: Distances, bad: number, keep: number): number[] {
  const scores = krumScores(distances, bad);
  const most = distances.count - bad;
  if (!(Number.isSafeInteger(keep) && keep >= 1 && keep <= most)) {
    throw new UserError(
      `Multi-Krum with ${bad} bad client(s) among ${distances.count} updates can keep 1 to ${most} of them, not ${keep}`,
    );
  }
  return scores
    .map((score, index) => ({ score, index }))
    .sort((a, b) => a.score - b.score || a.index - b.index)
    .slice(0, keep)
    .map(({ index }) => index);
}

/** The update closest to its neighbours, unchanged. `distances` may be those of products. */
export function krum(updates: readonly Tensors[], bad: number, distances = squaredDistances(updates)): Tensors {
  requireUpdates(updates);
  return updates[krumChoice(distances, bad, 1)[0]!]!;
}

/**
 * The plain mean of the `keep` best by Krum's score (default: all but the bad ones). Self-reported weights do not count: they
 * would be one more thing to lie about.
 */
export function multiKrum(
  updates: readonly Tensors[],
  bad: number,
  keep = updates.length - bad,
  distances = squaredDistances(updates),
): Tensors {
  requireUpdates(updates);
  return weightedMean(krumChoice(distances, bad, keep).map((i) => ({ tensors: updates[i]!, weight: 1 })));
}
