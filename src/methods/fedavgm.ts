import { z } from 'zod';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { fraction, momentumRule, serverOptions, serverStages } from './server-optimizers.ts';

/** FedAvgM (Hsu et al. 2019, arXiv 1909.06335). */
export const fedavgm = defineMethod({
  name: 'fedavgm',
  summary: 'federated averaging with momentum at the server',
  source:
    'arXiv 1909.06335 in Flower’s form (heavy ball). The momentum of 0.9 is this project’s choice; Flower’s is 0.',
  capabilities: averaging,
  options: z.strictObject({ ...serverOptions(1), momentum: fraction(0.9, 'β; 0 with rate 1 is FedIT') }),
  stages: (options, context) => serverStages(momentumRule(options), options, context),
});
