import type { Tensor, Tensors } from '../../src/tensor/tensor.ts';

interface Weighed {
  readonly update: Tensors;
  readonly weight: number;
}

/** What a round adds, as a sum and what it is divided by: of one coordinate's values and their weights. */
type Rule = (values: readonly number[], weights: readonly number[]) => readonly [sum: number, total: number];

/** Σ w·u / Σ w. */
export const mean: Rule = (values, weights) => [
  values.reduce((sum, value, k) => sum + weights[k]! * value, 0),
  weights.reduce((sum, weight) => sum + weight, 0),
];

/** The middle value, of an even number the mean of the two in the middle, as the sum of so many; weights do not count. */
export const middle: Rule = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1]!, sorted[sorted.length >> 1]!];
  return [Math.fround((low + high) / 2) * sorted.length, sorted.length];
};

/**
 * Federated averaging in plain arithmetic, sharing nothing with the round engine: each round adds Σ w·u / Σ w to the factors,
 * or what another rule makes of the updates. The sum is taken in float64 in the order given and rounded once to float32, and so
 * is each later step.
 */
export function averaged(start: Tensors, rounds: readonly (readonly Weighed[])[], rule: Rule = mean): Tensors {
  let factors = start;
  for (const updates of rounds) {
    const weights = updates.map(({ weight }) => weight);
    const next = new Map<string, Tensor>();
    for (const [name, { shape, data }] of factors) {
      const moved = data.map((value, i) => {
        const [sum, total] = rule(
          updates.map(({ update }) => update.get(name)!.data[i]!),
          weights,
        );
        return value + Math.fround(Math.fround(sum) * (1 / total));
      });
      next.set(name, { shape, data: moved });
    }
    factors = next;
  }
  return factors;
}
