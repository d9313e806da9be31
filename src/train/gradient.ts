import { evaluationBatches } from '../data/batches.ts';
import { draws, requireRows, type WorkContext } from './context.ts';
import type { GradientRequest, GradientResult, Progress } from './kit.ts';
import { requireFinite } from './non-finite.ts';
import { lossAndGradient, tokenMeans } from './token-mean.ts';

/**
 * The token-mean gradient with respect to `params` over all training rows, or over a number of them drawn for this round
 * without repeating (all, where there are no more). A progress per micro-batch.
 */
export async function* gradient(
  context: WorkContext,
  { from, parametrisation, params, rows, batchSize }: GradientRequest,
): AsyncGenerator<Progress, GradientResult> {
  requireRows(context);
  const { engine, client, signal } = context;
  const chosen =
    rows === 'all' || rows >= client.train.length
      ? client.train
      : draws(context, 'gradient').sample(client.train, rows);
  const point = parametrisation.at(from);
  const factors = point.toFactors(params);
  const means = tokenMeans();
  const steps = Math.ceil(chosen.length / batchSize);
  let step = 0;
  for (const batch of evaluationBatches(chosen, batchSize)) {
    signal.throwIfAborted();
    step++;
    const part = await lossAndGradient(engine, factors, batch, parametrisation.moves, step);
    means.add(part);
    yield { step, steps, loss: part.loss, tokens: part.tokens, processed: part.processed };
  }
  const { loss, tokens, gradients } = means.mean();
  // The chain rule is linear in the gradient, so once, on the mean, is enough.
  const own = point.pullback(gradients, params);
  requireFinite(step, 'the gradient of', own);
  return { gradients: own, loss, tokens };
}
