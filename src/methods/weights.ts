import { z } from 'zod';
import type { ClientKit } from '../train/kit.ts';

/** How much a client counts in an average, before normalising over the round's participants. */
export const weighting = z
  .enum(['examples', 'tokens', 'uniform'])
  .describe('p_k ∝ training examples (FedAvg), labelled training tokens, or the same for everybody');

export type Weighting = z.output<typeof weighting>;

/** What this client counts, unnormalised. */
export function weightOf(weighting: Weighting, kit: Pick<ClientKit, 'examples' | 'labelledTokens'>): number {
  switch (weighting) {
    case 'examples':
      return kit.examples;
    case 'tokens':
      return kit.labelledTokens;
    case 'uniform':
      return 1;
  }
}
