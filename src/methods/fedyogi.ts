import { z } from 'zod';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { adaptiveOptions, adaptiveRule, flowersDefaults, serverOptions, serverStages } from './server-optimizers.ts';

/** FedYogi (Reddi et al. 2021). */
export const fedyogi = defineMethod({
  name: 'fedyogi',
  summary: 'federated averaging with Yogi at the server',
  source: `arXiv 2003.00295. ${flowersDefaults}`,
  capabilities: averaging,
  options: z.strictObject({ ...serverOptions(0.01), ...adaptiveOptions }),
  stages: (options, context) =>
    serverStages(adaptiveRule({ ...options, second: 'yogi', biasCorrection: 'none' }), options, context),
});
