import { z } from 'zod';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedOptions, federatedRounds } from './options.ts';
import { isA, noGlobalModel, sharePart } from './share-part.ts';

/** FedSA-LoRA (Guo et al. 2024, arXiv 2410.01463): A is shared, every client keeps its own B. */
export const fedsaLora = defineMethod({
  name: 'fedsa-lora',
  summary: 'A and B are trained; A is averaged, B stays with its client',
  source: `arXiv 2410.01463, after its authors’ configurations. ${noGlobalModel}`,
  capabilities: {
    ...averaging,
    uploads: 'A',
    onReceipt: 'overwrites A; keeps its own B',
    exact: 'per client',
  },
  options: z.strictObject(federatedOptions),
  stages: (options, context) => [sharePart({ ...federatedRounds(options, context), shares: isA })],
});
