import type { Tensor, Tensors } from '../tensor/tensor.ts';

// What travels beside a stage's own tensors where the clipping bound moves.

/** The bound on its way to the clients. */
export const BOUND = 'guard:bound';
/** Each client's ½ or −½ on its way back, for an update that was not clipped or was. */
export const UNCLIPPED = 'guard:unclipped';

export const scalar = (x: number): Tensor => ({ shape: [], data: Float32Array.of(x) });

export const without = (tensors: Tensors, name: string): Tensors =>
  tensors.has(name) ? new Map([...tensors].filter(([key]) => key !== name)) : tensors;
