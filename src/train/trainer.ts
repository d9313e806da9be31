import { epoch, pack } from '../data/batches.ts';
import type { PackedBatch } from '../runtime/engine.ts';
import type { Random } from '../tensor/random.ts';
import { add } from '../tensor/tensors.ts';
import { draws, requireRows, type WorkContext } from './context.ts';
import { keepBest } from './keep-best.ts';
import type { Progress, TrainRequest, TrainResult } from './kit.ts';
import { requireFinite } from './non-finite.ts';
import { stepsOf } from './settings.ts';
import { lossAndGradient, tokenMeans } from './token-mean.ts';

/**
 * Trains params on the client's training rows: one optimizer step per progress, on the token-mean gradient of its
 * micro-batches. Stops with the signal's reason before the next micro-batch; throws `NonFinite` where a loss, a gradient or
 * the params are no longer finite.
 */
export async function* train(context: WorkContext, request: TrainRequest): AsyncGenerator<Progress, TrainResult> {
  requireRows(context);
  const { engine, client, signal } = context;
  const { from, parametrisation, optimizer, batchSize, accumulate = 1, correct, afterStep } = request;
  const steps = stepsOf(request.length, client.train.length, { batchSize, accumulate });
  const groups = optimizerSteps(context, batchSize, accumulate, draws(context, 'batches'));
  const point = parametrisation.at(from);
  const best = request.keepBest && keepBest(context, batchSize, request.keepBest.every, steps);
  let params = request.params ?? point.init;
  let state = request.optimizerState ?? optimizer.init(params);
  let tokens = 0;
  let lossSum = 0;

  for (let step = 1; step <= steps; step++) {
    const factors = point.toFactors(params);
    const means = tokenMeans();
    for (const batch of groups.next().value) {
      signal.throwIfAborted();
      means.add(await lossAndGradient(engine, factors, batch, parametrisation.moves, step));
    }
    const mean = means.mean();
    const own = point.pullback(mean.gradients, params);
    // The schedule's count: the first step is 0, also where the optimizer goes on from an earlier task.
    const scheduled = step - 1;
    const [updates, next] = optimizer.update(correct ? correct(own, params) : own, state, params, scheduled);
    state = next;
    params = add(params, updates);
    if (afterStep) params = afterStep(params, scheduled);
    requireFinite(step, 'after the update, parameter', params);
    await best?.offer(step, params, state, () => point.toFactors(params));
    tokens += mean.tokens;
    lossSum += mean.loss * mean.tokens;
    yield { step, steps, loss: mean.loss, tokens: mean.tokens, processed: mean.processed };
  }

  const kept = best?.best() ?? { params, optimizerState: state };
  const adapter = { layout: from.layout, factors: point.toFactors(kept.params) };
  return { ...kept, adapter, steps, loss: lossSum / tokens, tokens };
}

/** The micro-batches of each optimizer step, epoch after epoch without end. The last step of an epoch may have fewer. */
function* optimizerSteps(
  { client }: WorkContext,
  batchSize: number,
  accumulate: number,
  random: Random,
): Generator<PackedBatch[], never> {
  for (;;) {
    const batches = epoch(client.train, batchSize, random);
    for (let i = 0; i < batches.length; i += accumulate) yield batches.slice(i, i + accumulate).map(pack);
  }
}
