import type { Tensors } from '../tensor/tensor.ts';
import { addScaled, scale } from '../tensor/tensors.ts';

/** λ·Σ‖Δ‖² in the loss: adds its gradient 2λΔ. METHOD's `penalty: coupled`, for a train request's `correct`. */
export function addPenalty(lambda: number): (gradients: Tensors, params: Tensors) => Tensors {
  requireLambda(lambda);
  return (gradients, params) => (lambda === 0 ? gradients : addScaled(gradients, params, 2 * lambda));
}

/**
 * The proximal operator of λ·Σ‖Δ‖² after a step of that rate: Δ ← Δ/(1 + 2·rate·λ). METHOD's `penalty: proximal`, for a
 * train request's `afterStep`; `rate` is the optimizer's at that step, so that their fixed point is the penalised minimiser.
 */
export function proximalStep(params: Tensors, rate: number, lambda: number): Tensors {
  requireLambda(lambda);
  if (!(rate >= 0 && rate < Infinity)) throw new Error(`a proximal step needs a rate of at least 0, not ${rate}`);
  return lambda === 0 ? params : scale(params, 1 / (1 + 2 * rate * lambda));
}

function requireLambda(lambda: number): void {
  if (!(lambda >= 0 && lambda < Infinity)) throw new Error(`a penalty needs a weight of at least 0, not ${lambda}`);
}
