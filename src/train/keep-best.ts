import { evaluationBatches } from '../data/batches.ts';
import { UserError } from '../errors.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import type { WorkContext } from './context.ts';
import { NonFinite } from './non-finite.ts';

interface Kept {
  readonly params: Tensors;
  readonly optimizerState: State;
}

/** Remembers the params with the lowest validation loss among those offered: every so many steps, and the last. The first of equals is kept. */
export function keepBest(
  context: WorkContext,
  batchSize: number,
  every: number,
  steps: number,
): {
  offer(step: number, params: Tensors, optimizerState: State, factors: () => Tensors): Promise<void>;
  best(): Kept | undefined;
} {
  if (context.client.validation.length === 0) {
    throw new UserError(
      `client “${context.client.id}” has no validation rows, so the best state on validation cannot be kept: ` +
        'hold some out (clients.split.validation), or leave train.keepBest off',
    );
  }
  let best: Kept | undefined;
  let lowest = Infinity;
  return {
    async offer(step, params, optimizerState, factors) {
      if (step % every !== 0 && step !== steps) return;
      const loss = await validationLoss(context, factors(), batchSize);
      if (!Number.isFinite(loss)) throw new NonFinite(`the validation loss is ${loss}`, step);
      if (best !== undefined && !(loss < lowest)) return;
      best = { params, optimizerState };
      lowest = loss;
    },
    best: () => best,
  };
}

/** Token-mean loss on the client's validation rows, nats. */
async function validationLoss(
  { client, engine, signal }: WorkContext,
  factors: Tensors,
  batchSize: number,
): Promise<number> {
  let sum = 0;
  let tokens = 0;
  for (const batch of evaluationBatches(client.validation, batchSize)) {
    signal.throwIfAborted();
    const { nll } = await engine.score(factors, batch);
    for (const value of nll) sum += value;
    tokens += nll.length;
  }
  return sum / tokens;
}
