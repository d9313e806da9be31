import { z } from 'zod';
import { onlyB } from '../lora/factors.ts';
import { averageFactors } from './average-factors.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedOptions, federatedRounds } from './options.ts';

/** FFA-LoRA (Sun et al. 2024, arXiv 2403.12313): A stays as the common seed made it, B is trained and averaged. */
export const ffaLora = defineMethod({
  name: 'ffa-lora',
  summary: 'A stays frozen at its random start; only B is trained, sent and averaged, which makes the average exact',
  source:
    'arXiv 2403.12313, known here by its abstract and by others’ code. A is the run’s initial adapter’s. One factor usually wants a higher rate than two.',
  capabilities: { ...averaging, trains: 'B', uploads: 'B', onReceipt: 'overwrites B', exact: 'yes' },
  options: z.strictObject(federatedOptions),
  stages: (options, context) => [averageFactors({ ...federatedRounds(options, context), parametrisation: onlyB() })],
});
