import { z } from 'zod';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { adaptiveOptions, adaptiveRule, flowersDefaults, serverOptions, serverStages } from './server-optimizers.ts';

/** FedAdam (Reddi et al. 2021). */
export const fedadam = defineMethod({
  name: 'fedadam',
  summary: 'federated averaging with Adam at the server',
  source: `arXiv 2003.00295, which has no bias correction. ${flowersDefaults}`,
  capabilities: averaging,
  options: z.strictObject({
    ...serverOptions(0.1),
    ...adaptiveOptions,
    biasCorrection: z
      .enum(['none', 'folded', 'flower', 'pytorch'])
      .default('none')
      .describe(
        'for moments that start at 0: none; `folded`, η√(1 − β2ᵗ)/(1 − β1ᵗ)·m/(√v + τ); `flower`, the same with t one ahead; `pytorch`, τ outside the correction',
      ),
  }),
  stages: (options, context) => serverStages(adaptiveRule({ ...options, second: 'adam' }), options, context),
});
