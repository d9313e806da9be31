import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { identity, times, transposedTimes } from '../tensor/matrices.ts';
import { getTensor, requireSameShapes } from '../tensor/tensors.ts';
import { keyOfB } from './adapter.ts';
import { requireFactors, withMoved } from './check.ts';
import type { Parametrisation } from './parametrisation.ts';

export const keyOfCore = (module: string): string => `${module}.core`;

/** ΔW = scale·B·R·A with A and B as they are and only R [rank, rank] trained (Fed-SB); the graph is fed A and B·R. */
export function core(): Parametrisation {
  return {
    moves: 'B',
    at(adapter) {
      requireFactors(adapter);
      const { modules } = adapter.layout;
      const init: Tensors = new Map(modules.map(({ name, rank }) => [keyOfCore(name), identity(rank)]));
      const ofB = (name: string): Tensor => getTensor(adapter.factors, keyOfB(name));
      return {
        init,
        toFactors(params) {
          requireSameShapes(params, init, 'the cores and the adapter');
          const moved = modules.map(({ name }): [string, Tensor] => [
            keyOfB(name),
            times(ofB(name), getTensor(params, keyOfCore(name))),
          ]);
          return withMoved(adapter, new Map(moved));
        },
        // ∂L/∂R = Bᵀ·∂L/∂(B·R).
        pullback: (gradients) =>
          new Map(
            modules.map(({ name }) => [
              keyOfCore(name),
              transposedTimes(ofB(name), getTensor(gradients, keyOfB(name))),
            ]),
          ),
      };
    },
  };
}
