import type { Tensors } from '../tensor/tensor.ts';
import { addScaled, requireSameShapes, scale, zerosLike } from '../tensor/tensors.ts';
import type { Optimizer, Schedule } from './optimizer.ts';
import { rateAt } from './schedules.ts';

/** Steps taken so far, and the running sum of gradients where there is momentum. */
export type SgdState = { readonly step: number; readonly velocity: Tensors | null };

/**
 * Stochastic gradient descent as torch.optim.SGD computes it: velocity ← momentum·velocity + gradient,
 * params ← params − rate·velocity. Without momentum (the default) it keeps no velocity.
 */
export function sgd({ rate, momentum = 0 }: { rate: number | Schedule; momentum?: number }): Optimizer<SgdState> {
  return {
    init: (params) => ({ step: 0, velocity: momentum === 0 ? null : zerosLike(params) }),
    update(gradients, { step, velocity }, params, scheduled = step) {
      requireSameShapes(gradients, params, 'the gradients and the params');
      const next = velocity === null ? null : addScaled(gradients, velocity, momentum);
      return [scale(next ?? gradients, -rateAt(rate, scheduled)), { step: step + 1, velocity: next }];
    },
  };
}
