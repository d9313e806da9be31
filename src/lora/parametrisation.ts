import type { Tensors } from '../tensor/tensor.ts';
import type { Adapter } from './adapter.ts';

/**
 * What is trained, apart from how and from the graph: a point (params) and the two maps between it and the factors.
 * `at` fixes everything that is not trained, once: the frozen factors, and the decomposition if there is one.
 */
export interface Parametrisation {
  /** Which factors move, hence whose gradients are computed. */
  readonly moves: 'A' | 'B' | 'AB';
  at(adapter: Adapter): {
    /** The params at which `toFactors` gives the adapter's own factors (deltas are zero). */
    readonly init: Tensors;
    /** A and B of every module, as the graph is fed. */
    toFactors(params: Tensors): Tensors;
    /** The chain rule: gradients of the moved factors → gradients of params. */
    pullback(gradients: Tensors, params: Tensors): Tensors;
  };
}
