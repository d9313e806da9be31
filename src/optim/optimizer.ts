import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';

/** An optimizer as two pure functions (after optax): the updates are added to the params. Step counts live in the state. */
export interface Optimizer<S extends State = State> {
  init(params: Tensors): S;
  /** `step` is what a schedule goes by, of a task that begins it anew on a state with steps behind it; default: the state's own count. */
  update(gradients: Tensors, state: S, params: Tensors, step?: number): readonly [updates: Tensors, state: S];
}

/** Step (from 0) → learning rate. */
export type Schedule = (step: number) => number;
