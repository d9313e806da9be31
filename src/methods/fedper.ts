import { z } from 'zod';
import { UserError } from '../errors.ts';
import { keyOfA, keyOfB, type LoraLayout } from '../lora/adapter.ts';
import { patternFor } from '../lora/patterns.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedOptions, federatedRounds } from './options.ts';
import { moduleOf, noGlobalModel, sharePart } from './share-part.ts';

/** FedPer (Arivazhagan et al. 2019, arXiv 1912.00818) on LoRA: a filter of names says which factors stay local. */
export const fedper = defineMethod({
  name: 'fedper',
  summary: 'A and B are trained and averaged, but for those factors that a pattern keeps at their client',
  source: `arXiv 1912.00818, whose personal layers here are the factors that \`local\` names. ${noGlobalModel}`,
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
