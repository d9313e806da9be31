import { z } from 'zod';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { adaptiveOptions, adaptiveRule, flowersDefaults, serverOptions, serverStages } from './server-optimizers.ts';

/** FedAdagrad (Reddi et al. 2021, arXiv 2003.00295), with β1 = 0. */
export const fedadagrad = defineMethod({
  name: 'fedadagrad',
  summary: 'federated averaging with Adagrad at the server',
  source: `arXiv 2003.00295; β1 = 0 as in Flower. ${flowersDefaults}`,
  capabilities: averaging,
  options: z.strictObject({ ...serverOptions(0.1), tau: adaptiveOptions.tau }),
  stages: (options, context) =>
    serverStages(
      adaptiveRule({ ...options, second: 'adagrad', beta1: 0, beta2: 0, biasCorrection: 'none' }),
      options,
      context,
    ),
});
