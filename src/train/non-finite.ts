import { allFinite } from '../tensor/tensors.ts';
import type { Tensors } from '../tensor/tensor.ts';

/** NaN or infinity came up in training: it stops the task. */
export class NonFinite extends Error {
  override readonly name = 'NonFinite';
  /** Optimizer step or micro-batch, from 1. */
  readonly step: number;
  /** The tensor that holds it; undefined where it is the loss. */
  readonly tensor: string | undefined;

  constructor(what: string, step: number, tensor?: string) {
    super(`${what} in step ${step}: the data, the weights or the learning rate are to blame`);
    this.step = step;
    this.tensor = tensor;
  }
}

/** Throws `NonFinite` where the loss or a number of the tensors is not finite; `what` says what the tensors are. */
export function requireFinite(step: number, what: string, tensors: Tensors, loss = 0): void {
  if (!Number.isFinite(loss)) throw new NonFinite(`the loss is ${loss}`, step);
  const bad = allFinite(tensors);
  if (bad !== undefined) throw new NonFinite(`${what} “${bad}” holds NaN or infinity`, step, bad);
}
