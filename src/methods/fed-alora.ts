import { z } from 'zod';
import { UserError } from '../errors.ts';
import { addedToB, keyOfMix, mixedA, ownPart, ownRank } from '../lora/own-rank.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { training } from '../train/settings.ts';
import { averaging } from './capabilities.ts';
import { rankedLayouts, ranksOption, type Ranks } from './combine-factors.ts';
import { defineMethod } from './method.ts';
import { federatedOptions, federatedRounds } from './options.ts';
import { privateState, type PrivateState } from './private-state.ts';
import { isA, noGlobalModel, sharePart, type SharedPart } from './share-part.ts';
import type { Stage } from './stage.ts';
import { weightOf } from './weights.ts';

/** Fed-ALoRA: FedSA-LoRA the other way round. B is shared, every client keeps its own A. */
export const fedAlora = defineMethod({
  name: 'fed-alora',
  summary: 'A and B are trained; B is averaged, A stays with its client, at ranks of the clients’ own',
  source:
    'Fed-ALoRA’s aggregation, known here second-hand: a client of lower rank trains (B_0 + B_2·B_1)·M·A and the server adds Σ p_k·B_2·B_1 to ' +
    `B_0. Choices here: it begins each round at B_2 = 0, B_1 = [I 0], its first with M = [I 0]ᵀ and the first rows of A, and sends the product. ${noGlobalModel}`,
  capabilities: {
    ...averaging,
    uploads: 'B',
    onReceipt: 'overwrites B; keeps its own A',
    mixedRanks: true,
    exact: 'per client',
  },
  options: z.strictObject({ ...federatedOptions, ranks: ranksOption }),
  stages: ({ ranks, ...options }, context) => {
    if (Object.keys(ranks).length > 0 && options.optimizerState === 'keep') {
      throw new UserError(
        'fed-alora: `ranks` needs `optimizerState: reset`, since B_2 and B_1 of a client of lower rank begin anew in every round',
      );
    }
    const shared = { ...federatedRounds(options, context), shares: (key: string) => !isA(key) };
    return [Object.keys(ranks).length === 0 ? sharePart(shared) : withRanks(shared, ranks)];
  },
});

/** The same rounds, in which the named clients have a rank of their own: what they keep is A_k and M, what they send B_2·B_1. */
function withRanks(options: SharedPart, ranks: Ranks): Stage<Tensors, PrivateState> {
  const { layout } = options;
  const { requireClients } = rankedLayouts(layout, ranks);
  const stage = sharePart(options);
  return {
    ...stage,
    start(from) {
      requireClients(from.clients);
      return stage.start(from);
    },
    async *work(received, mine, kit) {
      if (!Object.hasOwn(ranks, kit.client)) return yield* stage.work(received, mine, kit);
      const before = privateState(mine);
      const own = before.personal ?? ownPart(layout, received, ranks[kit.client]!);
      const trained = yield* kit.train({
        from: { layout, factors: new Map([...received, ...mixedA(layout, own)]) },
        parametrisation: ownRank(own),
        ...training(options.train, kit),
      });
      const personal = new Map([...own.keys()].map((key) => [key, trained.params.get(key)!]));
      return {
        update: addedToB(layout, trained.params),
        weight: weightOf(options.weights, kit),
        mine: { ...before, personal },
      };
    },
    models(factors, mine) {
      const { personal } = privateState(mine);
      const mixes = personal !== undefined && layout.modules.some(({ name }) => personal.has(keyOfMix(name)));
      if (!mixes) return stage.models(factors, mine);
      return [{ adapter: { layout, factors: new Map([...factors, ...mixedA(layout, personal)]) }, weight: 1 }];
    },
  };
}
