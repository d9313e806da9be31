import { evaluationBatches, pack } from '../../src/data/batches.ts';
import type { Tokenizer } from '../../src/data/tokenizer.ts';
import { adamw, type AdamState } from '../../src/optim/adamw.ts';
import { clipByGlobalNorm } from '../../src/optim/clip.ts';
import { warmupCosine } from '../../src/optim/schedules.ts';
import type { FullTraining } from '../../src/runtime/full-training.ts';
import { add } from '../../src/tensor/tensors.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { initialWeights } from './model.ts';
import { heldOutRows, stepRows } from './rows.ts';

/** Everything that decides the result of a training of the base model. */
export interface Recipe {
  readonly seed: number;
  readonly steps: number;
  readonly rows: number;
  readonly rate: number;
  readonly warmup: number;
  readonly weightDecay: number;
  readonly clip: number;
}

/** How the committed weights were made. */
export const recipe: Recipe = {
  seed: 1,
  steps: 9_000,
  rows: 32,
  rate: 3e-3,
  warmup: 100,
  weightDecay: 0.01,
  clip: 1,
};

export interface TrainingStep {
  readonly weights: Tensors;
  readonly adam: AdamState;
  /** Of this step's batch, nats per labelled token. */
  readonly loss: number;
  readonly tokens: number;
}

/** The state before the first step. */
export function beginning(recipe: Recipe): Pick<TrainingStep, 'weights' | 'adam'> {
  const weights = initialWeights(recipe.seed);
  return { weights, adam: adamw({ rate: 0 }).init(weights) };
}

/** Trains all weights from where `from` stands to the recipe's end, a step at a time: AdamW, warm-up and cosine, loss on responses. */
export async function* trainBase(
  engine: FullTraining,
  tokenizer: Tokenizer,
  recipe: Recipe,
  from: Pick<TrainingStep, 'weights' | 'adam'>,
): AsyncGenerator<TrainingStep> {
  const rate = warmupCosine(recipe.rate, recipe.warmup, recipe.steps);
  const optimizer = adamw({ rate, beta2: 0.95, weightDecay: recipe.weightDecay });
  const clip = clipByGlobalNorm(recipe.clip);
  let { weights, adam } = from;
  while (adam.step < recipe.steps) {
    const batch = pack(stepRows(tokenizer, recipe.seed, adam.step, recipe.rows));
    const { loss, gradients } = await engine.step(weights, batch);
    if (!Number.isFinite(loss)) throw new Error(`the loss of step ${adam.step} is ${loss}`);
    const [clipped] = clip.update(gradients, null, weights);
    const [updates, next] = optimizer.update(clipped, adam, weights);
    [weights, adam] = [add(weights, updates), next];
    yield { weights, adam, loss, tokens: batch.ids.length };
  }
}

/** Loss (nats per labelled token) and token accuracy on the held-out exchanges. */
export async function heldOut(
  engine: FullTraining,
  tokenizer: Tokenizer,
  weights: Tensors,
): Promise<{ loss: number; accuracy: number; tokens: number }> {
  let [sum, right, tokens] = [0, 0, 0];
  for (const batch of evaluationBatches(heldOutRows(tokenizer), 100)) {
    const { nll, predicted } = await engine.score(weights, batch);
    for (let i = 0; i < nll.length; i++) {
      sum += nll[i]!;
      if (predicted[i] === batch.targets[i]) right += 1;
    }
    tokens += nll.length;
  }
  return { loss: sum / tokens, accuracy: right / tokens, tokens };
}
