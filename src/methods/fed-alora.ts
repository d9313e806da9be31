import { z } from 'zod';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedOptions, federatedRounds } from './options.ts';
import { isA, noGlobalModel, sharePart } from './share-part.ts';

/** Fed-ALoRA: FedSA-LoRA the other way round. B is shared, every client keeps its own A. */
export const fedAlora = defineMethod({
  name: 'fed-alora',
  summary: 'A and B are trained; B is averaged, A stays with its client',
  source: `Fed-ALoRA’s aggregation, known here second-hand, for one rank. ${noGlobalModel}`,
  capabilities: {
    ...averaging,
    uploads: 'B',
    onReceipt: 'overwrites B; keeps its own A',
    exact: 'per client',
  },
  options: z.strictObject(federatedOptions),
  stages: (options, context) => [sharePart({ ...federatedRounds(options, context), shares: (key) => !isA(key) })],
});
