import { z } from 'zod';
import { onlyA, onlyB } from '../lora/factors.ts';
import { averageFactors } from './average-factors.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedRounds, ownRounds } from './options.ts';
import { weighting } from './weights.ts';
import type { Stage } from './stage.ts';

/** RoLoRA (Chen et al. 2024, arXiv 2409.02346): rounds alternate between B and A, the other factor being common to all. */
export const rolora = defineMethod({
  name: 'rolora',
  summary: 'rounds alternate: B is trained and averaged with A common, then A with B common; every average is exact',
  source:
    'arXiv 2409.02346, known here second-hand. It starts with B, since A has no gradient where B = 0. Both factors go down each round, ' +
    'so that a client that was away is never stale; each round starts a fresh optimizer, so that none leaks between the factors.',
  capabilities: { ...averaging, trains: 'B, A in turn', uploads: 'B, A in turn', exact: 'yes' },
  options: z.strictObject({ rounds: ownRounds, weights: weighting.default('examples') }),
  stages: (options, context) => {
    const turn = (parametrisation: ReturnType<typeof onlyA>) =>
      averageFactors({ ...federatedRounds(options, context), parametrisation, optimizerState: 'reset' });
    return [alternating(turn(onlyB()), turn(onlyA()))];
  },
});

/** Even rounds (the first is 0) as the one stage has them, odd rounds as the other; both share the same state. */
function alternating(even: ReturnType<typeof averageFactors>, odd: ReturnType<typeof averageFactors>): Stage {
  const at = (round: number): typeof even => (round % 2 === 0 ? even : odd);
  return {
    ...even,
    frozen: () => new Map(),
    broadcast: (factors) => factors,
    work: (received, mine, kit) => at(kit.round).work(received, mine, kit),
    apply: (factors, combined, round) => at(round).apply(factors, combined, round),
  } satisfies ReturnType<typeof averageFactors>;
}
