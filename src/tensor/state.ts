import type { Tensor, Tensors } from './tensor.ts';

/**
 * What a method may keep between rounds, at the server (shared) or at a client (private): plain data with tensors as leaves,
 * so that the journal can write it and read it back bit for bit.
 */
export type State =
  | null
  | boolean
  | number
  | string
  | Tensor
  | Tensors
  | readonly State[]
  | { readonly [key: string]: State };

/** Whether a client that leaves this behind has no private state. */
export const isNothing = (state: State): boolean =>
  state === null || (typeof state === 'object' && !(state instanceof Map) && Object.keys(state).length === 0);
