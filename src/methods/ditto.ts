import { z } from 'zod';
import type { LoraLayout } from '../lora/adapter.ts';
import { factors as allFactors } from '../lora/factors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { training, type TrainSettings } from '../train/settings.ts';
import { averageFactors, type AveragedTraining } from './average-factors.ts';
import { proximalGradient } from './fedprox.ts';
import { personalModel } from './local-training.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedOptions, federatedRounds, localOptions, withLocal } from './options.ts';
import { keepOptimizer, keptOptimizer, privateState, type PrivateState } from './private-state.ts';
import type { Stage } from './stage.ts';

/** Ditto (Li et al. 2021, arXiv 2012.04221): FedIT, and at each client a personal adapter pulled towards the global one. */
export const ditto = defineMethod({
  name: 'ditto',
  summary:
    'federated averaging; beside it each client trains a personal adapter v with (λ/2)‖v − w‖² around the global w',
  source:
    'arXiv 2012.04221, on A and B as FederatedScope has it (λ = 0.1 is its default). A personal adapter begins as the first global one its ' +
    'client is sent; both trainings of a round see the same batches; the term’s gradient passes through AdamW.',
  capabilities: { ...averaging, onReceipt: 'overwrites A, B; keeps its personal adapter' },
  options: z.strictObject({
    ...federatedOptions,
    lambda: z
      .number()
      .min(0)
      .default(0.1)
      .describe('weight λ of the pull; 0 is local training, with the work of each round'),
    local: localOptions.prefault({}).describe('the personal training of each round; by default as `train`'),
  }),
  stages: ({ lambda, local, ...options }, context) => [
    pulled({
      ...federatedRounds(options, context),
      parametrisation: allFactors(),
      lambda,
      personal: withLocal(context.train, local),
    }),
  ],
});

interface Pulled extends AveragedTraining {
  readonly layout: LoraLayout;
  readonly lambda: number;
  readonly personal: TrainSettings;
}

function pulled(options: Pulled): Stage<Tensors, PrivateState> {
  const { layout, parametrisation, lambda, personal, optimizerState } = options;
  const averaged = averageFactors(options);
  return {
    ...averaged,
    async *work(received, mine, kit) {
      const shared = yield* averaged.work(received, mine, kit);
      if (kit.server) return shared;
      const before = privateState(mine);
      const trained = yield* kit.train({
        from: { layout, factors: received },
        parametrisation,
        params: before.personal ?? received,
        ...training(personal, kit),
        ...keptOptimizer(before, 'personal'),
        ...(lambda > 0 && { correct: proximalGradient(received, lambda) }),
      });
      const after = keepOptimizer(shared.mine, 'personal', optimizerState, trained.optimizerState);
      return { ...shared, mine: { ...after, personal: trained.params } };
    },
    models: (factors, mine) => personalModel(layout, parametrisation, factors, privateState(mine)),
  };
}
