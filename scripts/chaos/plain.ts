import type { Tensor, Tensors } from '../../src/tensor/tensor.ts';

interface Weighed {
  readonly update: Tensors;
  readonly weight: number;
}

/**
 * Federated averaging in plain arithmetic, sharing nothing with the round engine: each round adds Σ w·u / Σ w to the factors.
 * The sum is taken in float64 in the order given and rounded once to float32, and so is each later step.
 */
export function averaged(start: Tensors, rounds: readonly (readonly Weighed[])[]): Tensors {
  let factors = start;
  for (const updates of rounds) {
    const total = updates.reduce((sum, { weight }) => sum + weight, 0);
    const next = new Map<string, Tensor>();
    for (const [name, { shape, data }] of factors) {
      const moved = data.map((value, i) => {
        let sum = 0;
        for (const { update, weight } of updates) sum += weight * update.get(name)!.data[i]!;
        return value + Math.fround(Math.fround(sum) * (1 / total));
      });
      next.set(name, { shape, data: moved });
    }
    factors = next;
  }
  return factors;
}
