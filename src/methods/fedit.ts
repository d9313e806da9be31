import { z } from 'zod';
import { factors } from '../lora/factors.ts';
import { averageFactors } from './average-factors.ts';
import { localTraining } from './local-training.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedOptions, federatedRounds, localOptions, withLocal } from './options.ts';

/** FedIT (Zhang et al., "Towards Building the Federated GPT", arXiv 2305.05644): federated averaging of the factors A and B. */
export const fedit = defineMethod({
  name: 'fedit',
  summary: 'federated averaging of A and B; optionally each client then fine-tunes the whole LoRA for itself',
  source: 'arXiv 2305.05644. The local fine-tuning afterwards is the usual personal baseline, not part of the paper.',
  capabilities: averaging,
  options: z.strictObject({
    ...federatedOptions,
    local: localOptions.optional().describe('fine-tune A and B at each client afterwards'),
  }),
  stages: ({ local, ...options }, context) => [
    averageFactors({ ...federatedRounds(options, context), parametrisation: factors() }),
    ...(local
      ? [
          localTraining({
            name: 'local',
            layout: context.layout,
            parametrisation: factors(),
            train: withLocal(context.train, local),
          }),
        ]
      : []),
  ],
});
