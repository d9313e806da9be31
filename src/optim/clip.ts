import { norm, scale } from '../tensor/tensors.ts';
import type { Optimizer } from './optimizer.ts';

/**
 * Scales gradients whose norm over all tensors exceeds `max` down to it, for the front of a chain. Gradients within `max`
 * pass unchanged, the same tensors. (torch.nn.utils.clip_grad_norm_ without its 1e-6 under the division.)
 */
export function clipByGlobalNorm(max: number): Optimizer<null> {
  if (!(max > 0)) throw new Error(`gradients are clipped to a norm above 0, not ${max}`);
  return {
    init: () => null,
    update(gradients) {
      const length = norm(gradients);
      return [length > max ? scale(gradients, max / length) : gradients, null];
    },
  };
}
