import type { LoraLayout } from '../lora/adapter.ts';
import { identified } from '../lora/identity.ts';
import type { Parametrisation } from '../lora/parametrisation.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { add, scale, subtract } from '../tensor/tensors.ts';
import type { TrainRequest } from '../train/kit.ts';
import { training, type TrainSettings } from '../train/settings.ts';
import { keepOptimizer, keptOptimizer, privateState, type PrivateState } from './private-state.ts';
import type { Combined, Stage } from './stage.ts';
import { weightOf, type Weighting } from './weights.ts';

/** The weighted mean of the updates, from their sum. */
export function meanUpdate(combined: Combined): Tensors {
  if (combined.kind !== 'sum') throw new Error('this stage applies the sum of the updates');
  return scale(combined.sum, 1 / combined.weight);
}

export interface AveragedTraining {
  readonly name: string;
  readonly rounds: number;
  readonly layout: LoraLayout;
  /** Which factors are trained, sent and averaged: `factors()`, `onlyA()` or `onlyB()`. */
  readonly parametrisation: Parametrisation;
  readonly train: TrainSettings;
  readonly weights: Weighting;
  readonly optimizerState: 'reset' | 'keep';
  /** From the params a task starts at: what is added to each gradient, e.g. a proximal term. */
  readonly correct?: (start: Tensors) => NonNullable<TrainRequest['correct']>;
}

/** Rounds of FedAvg (McMahan et al. 2017): clients train from the server's factors and send the difference; the server adds the weighted mean. */
export function averageFactors(options: AveragedTraining): Stage<Tensors, PrivateState> {
  const { name, layout, parametrisation } = options;
  const movable = (factors: Tensors): Tensors => parametrisation.at({ layout, factors }).init;
  const stage: Stage<Tensors, PrivateState> = {
    name,
    rounds: options.rounds,
    participants: 'sampled',
    combine: 'sum',
    updates: 'factors',
    start: ({ adapter }) => adapter.factors,
    frozen: (factors) => new Map([...factors].filter(([key]) => !movable(factors).has(key))),
    broadcast: movable,
    work: (received, mine, kit) => trainFactors(options, received, privateState(mine), kit),
    apply: (factors, combined) => new Map([...factors, ...add(movable(factors), meanUpdate(combined))]),
    models: (factors) => [{ adapter: { layout, factors }, weight: 1 }],
  };
  const { train, weights, optimizerState, correct } = options;
  if (correct) return stage;
  return identified(stage, 'averageFactors', [parametrisation], { name, layout, train, weights, optimizerState });
}

/** A client's task in such a round: trains from what it received, hands back the difference. */
export async function* trainFactors(
  { name, layout, parametrisation, train, weights, optimizerState, correct }: Omit<AveragedTraining, 'rounds'>,
  received: Tensors,
  mine: PrivateState,
  kit: Parameters<Stage['work']>[2],
): ReturnType<Stage<Tensors, PrivateState>['work']> {
  const from = { layout, factors: received };
  const start = parametrisation.at(from).init;
  const trained = yield* kit.train({
    from,
    parametrisation,
    ...training(train, kit),
    ...keptOptimizer(mine, name),
    ...(correct && { correct: correct(start) }),
  });
  return {
    update: subtract(trained.params, start),
    weight: weightOf(weights, kit),
    mine: keepOptimizer(mine, name, optimizerState, trained.optimizerState),
  };
}
