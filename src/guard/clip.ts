import type { Tensors } from '../tensor/tensor.ts';
import { norm as normOf } from '../tensor/tensors.ts';

/** Throws where a clipping bound is none. */
export function requireBound(bound: number): void {
  if (!(bound > 0 && bound < Infinity)) throw new Error(`a clipping bound must be a number above 0, not ${bound}`);
}

/** Tensors in whatever form, which can be had shortened in the same form. */
export interface Scalable<Form> {
  readonly tensors: Tensors;
  times(factor: number): Form;
}

/**
 * update·min(1, bound/‖update‖) with one norm over all tensors together: what bounds a client's influence on a sum. The norm of
 * the result, as its float32 numbers stand, is at most `bound`, not only nearly. An update of norm 0 or within the bound comes
 * back as it is. `norm` is the one before. Throws where the norm is not finite. Vectors: aggregation.json `clip`.
 */
export function shortened<Form extends Scalable<Form>>(
  update: Form,
  bound: number,
): { readonly form: Form; readonly norm: number; readonly clipped: boolean } {
  requireBound(bound);
  const norm = normOf(update.tensors);
  if (!Number.isFinite(norm)) throw new Error(`an update of norm ${norm} cannot be clipped`);
  if (norm <= bound) return { form: update, norm, clipped: false };
  let factor = bound / norm;
  for (;;) {
    const form = update.times(factor);
    if (normOf(form.tensors) <= bound) return { form, norm, clipped: true };
    // Rounding to float32 went upwards: the sensitivity is that of the rounded numbers.
    factor *= 1 - 2 ** -24;
  }
}
