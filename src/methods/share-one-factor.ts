import { z } from 'zod';
import { UserError } from '../errors.ts';
import { keyOfA, keyOfB, type LoraLayout } from '../lora/adapter.ts';
import { patternFor } from '../lora/patterns.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedOptions, federatedRounds } from './options.ts';
import { sharePart } from './share-part.ts';

const isA = (key: string): boolean => key === keyOfA(moduleOf(key));
const moduleOf = (key: string): string => key.slice(0, key.lastIndexOf('.'));

const globalModel =
  'The papers have no single global model; here it is the average of what is shared with the rest as it was at the start.';

/** FedSA-LoRA (Guo et al. 2024, arXiv 2410.01463): A is shared, every client keeps its own B. */
export const fedsaLora = defineMethod({
  name: 'fedsa-lora',
  summary: 'A and B are trained; A is averaged, B stays with its client',
  source: `arXiv 2410.01463, after its authors’ configurations. ${globalModel}`,
  capabilities: {
    ...averaging,
    uploads: 'A',
    onReceipt: 'overwrites A; keeps its own B',
    exact: 'per client',
  },
  options: z.strictObject(federatedOptions),
  stages: (options, context) => [sharePart({ ...federatedRounds(options, context), shares: isA })],
});

/** Fed-ALoRA: the opposite choice, B is shared and every client keeps its own A. */
export const fedAlora = defineMethod({
  name: 'fed-alora',
  summary: 'A and B are trained; B is averaged, A stays with its client',
  source: `Fed-ALoRA’s aggregation, known here second-hand, for one rank. ${globalModel}`,
  capabilities: {
    ...averaging,
    uploads: 'B',
    onReceipt: 'overwrites B; keeps its own A',
    exact: 'per client',
  },
  options: z.strictObject(federatedOptions),
  stages: (options, context) => [sharePart({ ...federatedRounds(options, context), shares: (key) => !isA(key) })],
});

/** FedPer (Arivazhagan et al. 2019, arXiv 1912.00818) on LoRA: a filter of names says which factors stay local. */
export const fedper = defineMethod({
  name: 'fedper',
  summary: 'A and B are trained and averaged, but for those factors that a pattern keeps at their client',
  source: `arXiv 1912.00818, whose personal layers here are the factors that \`local\` names. ${globalModel}`,
  capabilities: {
    ...averaging,
    uploads: 'A, B that are not local',
    onReceipt: 'overwrites A, B that are not local; keeps the others',
    exact: 'per client',
  },
  options: z.strictObject({
    ...federatedOptions,
    local: z
      .array(z.string().min(1))
      .describe(
        'patterns of what stays local, each the end of a factor’s or module’s path, e.g. `v_proj`, `lora_B`, `layers\\.2[0-9]\\..*`; none: fedit, all: local training',
      ),
  }),
  stages: ({ local, ...options }, context) => {
    const kept = localKeys(context.layout, local);
    return [sharePart({ ...federatedRounds(options, context), shares: (key) => !kept.has(key) })];
  },
});

function localKeys(layout: LoraLayout, patterns: readonly string[]): ReadonlySet<string> {
  const keys = layout.modules.flatMap(({ name }) => [keyOfA(name), keyOfB(name)]);
  const named = patterns.map((pattern) => {
    const matches = (path: string): boolean => patternFor({ [pattern]: 1 }, path) !== undefined;
    const found = keys.filter((key) => matches(key) || matches(moduleOf(key)));
    if (found.length === 0) {
      throw new UserError(
        `fedper: \`local\` has “${pattern}”, which no factor is named; there are ${keys.slice(0, 2).join(', ')}, …`,
      );
    }
    return found;
  });
  return new Set(named.flat());
}
