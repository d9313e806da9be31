import { z } from 'zod';
import { keyOfB, type LoraLayout } from '../lora/adapter.ts';
import { beside } from '../lora/beside.ts';
import { factors as allFactors } from '../lora/factors.ts';
import { factorsAtRank } from '../lora/ranks.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { getTensor, mapTensors, scale, zerosLike } from '../tensor/tensors.ts';
import { trainFactors, type AveragedTraining } from './average-factors.ts';
import { clientFactors, ranksOption, rankedLayouts, type ClientFactors, type Ranks } from './combine-factors.ts';
import type { Grown } from './fedex-lora.ts';
import { gained, gainedBefore, increment, stacked, withoutGained } from './increments.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedRounds, ownRounds } from './options.ts';
import type { Stage } from './stage.ts';
import { weighting } from './weights.ts';

/** FLoRA (Wang et al. 2024, arXiv 2409.05976): the clients' adapters are stacked and added to the base; each round starts afresh. */
export const flora = defineMethod({
  name: 'flora',
  summary: 'the clients’ adapters are stacked, which is exact, and added to the base; each round trains fresh ones',
  source:
    'arXiv 2409.05976 and its code: A_k is weighted by p_k, B_k is not. Here every round begins again at the run’s initial A with B = 0, ' +
    'clients of all ranks have the same scale, and the stack stays beside the base as frozen factors.',
  capabilities: {
    ...averaging,
    onReceipt: 'adds the stack to its base; begins afresh',
    mixedRanks: true,
    exact: 'yes',
    secureAggregation: false,
  },
  options: z.strictObject({ rounds: ownRounds, weights: weighting.default('examples'), ranks: ranksOption }),
  stages: (options, context) => [stacking(federatedRounds(options, context))],
});

interface Stacking extends Omit<AveragedTraining, 'parametrisation' | 'optimizerState'> {
  readonly ranks: Ranks;
}

function stacking(options: Stacking): Stage<Grown> {
  const { name, rounds, layout, ranks } = options;
  const { layoutOf, sentTo, requireClients } = rankedLayouts(layout, ranks);
  return {
    name,
    rounds,
    participants: 'sampled',
    combine: 'each',
    // Every round begins afresh.
    guards: 'memoryless',
    start({ adapter, clients }) {
      requireClients(clients);
      return { factors: fresh(layout, adapter.factors), log: before(layout, adapter.factors) };
    },
    // The fresh start is the same in each round, so it is sent once, at the largest rank.
    frozen: ({ factors, log }, round) => new Map([...factors, ...gainedBefore(round, log)]),
    broadcast: () => new Map(),
    async *work(received, _, kit) {
      const own = layoutOf(kit.client);
      const parametrisation = beside(allFactors(), gained(own, received));
      const training = { ...options, layout: own, parametrisation, optimizerState: 'reset' } as const;
      const start = factorsAtRank(own, withoutGained(received));
      return { ...(yield* trainFactors(training, start, {}, kit)), mine: null };
    },
    apply({ factors, log }, combined, round) {
      const clients = clientFactors(combined, sentTo(factors));
      return { factors, log: new Map([...log, ...increment(round, stackOf(layout, clients))]) };
    },
    models({ factors, log }) {
      const base = gained(layout, log);
      return base.length > 0 ? base : [{ adapter: { layout, factors }, weight: 1 }];
    },
  };
}

/** A with B = 0. */
function fresh(layout: LoraLayout, factors: Tensors): Tensors {
  const isB = new Set(layout.modules.map(({ name }) => keyOfB(name)));
  return mapTensors(factors, (tensor, key) => (isB.has(key) ? zerosLike(new Map([[key, tensor]])).get(key)! : tensor));
}

/** Where the run starts from an adapter that is not zero, it is the first thing that the base gains. */
function before(layout: LoraLayout, factors: Tensors): Tensors {
  const moved = layout.modules.some(({ name }) => getTensor(factors, keyOfB(name)).data.some((x) => x !== 0));
  return moved ? increment(-1, factors) : new Map();
}

/** Rows p_k·A_k and columns B_k, client after client: their product is Σ p_k·B_k·A_k. */
const stackOf = (layout: LoraLayout, clients: readonly ClientFactors[]): Tensors =>
  stacked(layout, (module) =>
    clients.map(({ of, share }) => {
      const { a, b } = of(module);
      return { a: scale(new Map([['a', a]]), share).get('a')!, b };
    }),
  );
