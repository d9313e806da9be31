import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';

/** An optimizer as two pure functions (after optax): the updates are added to the params. Step counts live in the state. */
export interface Optimizer<S extends State = State> {
  init(params: Tensors): S;
  update(gradients: Tensors, state: S, params: Tensors): readonly [updates: Tensors, state: S];
}

/** Step (from 0) → learning rate. */
export type Schedule = (step: number) => number;
