import { z } from 'zod';
import type { State } from '../tensor/state.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';

/** What a client keeps for itself between tasks. Never sent. */
export type PrivateState = {
  /** Trained numbers of its personal model, as params of the stage that made them. */
  readonly personal?: Tensors;
  /** What its personal adapter makes of some of its own prompts, [prompts, hidden]. */
  readonly references?: Tensor;
  /** Optimizer state by stage name, where `optimizerState: keep`. */
  readonly optimizers?: { readonly [stage: string]: State };
};

export const optimizerState = z
  .enum(['reset', 'keep'])
  .default('reset')
  .describe('whether a client starts each task with a fresh optimizer, or goes on with its own');

/** Reads back what a task of one of this project's methods left. */
export const privateState = (mine: State | undefined): PrivateState => (mine ?? {}) as PrivateState;

/** The kept optimizer state of a stage, as part of a train request. */
export function keptOptimizer(mine: PrivateState, stage: string): { optimizerState?: State } {
  const state = mine.optimizers?.[stage];
  return state === undefined ? {} : { optimizerState: state };
}

/** `mine` after a task that ended with this optimizer state. */
export function keepOptimizer(
  mine: PrivateState,
  stage: string,
  choice: z.output<typeof optimizerState>,
  state: State,
): PrivateState {
  return choice === 'keep' ? { ...mine, optimizers: { ...mine.optimizers, [stage]: state } } : mine;
}
