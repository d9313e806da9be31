import { z } from 'zod';
import { gatedBeside, gatedPair } from '../lora/gated.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { add, addScaled, scale, subtract, tensor, zerosLike } from '../tensor/tensors.ts';
import { training, type TrainSettings } from '../train/settings.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { prefixed, unprefixed } from './named.ts';
import { federatedRounds, ownRounds } from './options.ts';
import { keepOptimizer, keptOptimizer, optimizerState, privateState, type PrivateState } from './private-state.ts';
import type { Combined, Stage } from './stage.ts';

/** FedALT (Bian et al. 2025, arXiv 2503.11880): each client's own adapter beside the frozen mean of the others', mixed token by token. */
export const fedalt = defineMethod({
  name: 'fedalt',
  summary:
    'each client’s own adapter beside the mean of the others’ (frozen), weighed token by token by a small mixer it trains',
  source:
    'arXiv 2503.11880 and its code: a softmax mixer without bias per module, (g₁, g₂) = softmax(G·x), stays with its client; the server gives each client the ' +
    'uniform mean of the others’ A and of their B. Choices here: the mixer begins at 0, an even mix (the code draws it); all own adapters begin as the ' +
    'run’s initial one; others count once they have taken part; each client takes its own part out of the sum of all, so that the server sees sums only; ' +
    'the global model, which the paper does not have, is the mean of all own adapters.',
  capabilities: {
    ...averaging,
    trains: 'A, B, mixer',
    serverWeight: 'uniform',
    onReceipt: 'overwrites the frozen mean of the others’ A, B; keeps its own and its mixer',
  },
  options: z.strictObject({ rounds: ownRounds, optimizerState }),
  stages: (options, context) => [individual(federatedRounds(options, context))],
});

interface Individual {
  readonly name: string;
  readonly layout: LoraLayout;
  readonly train: TrainSettings;
  readonly rounds: number;
  readonly optimizerState: z.output<typeof optimizerState>;
}

/** The sums over all clients that have taken part, of their own adapters as last accepted and of 1. */
type Sums = { readonly start: Tensors; readonly sum: Tensors; readonly joined: number };

const START = 'start';
const JOINED = 'joined';
const count = (of: Tensors): number => of.get(JOINED)!.data[0]!;
const withCount = (factors: Tensors, joined: number): Tensors => new Map([...factors, [JOINED, tensor([1], [joined])]]);
/** The factors, without what stands beside them. */
const factorsOf = (of: Tensors, like: Tensors): Tensors => new Map([...like.keys()].map((key) => [key, of.get(key)!]));

function individual(options: Individual): Stage<Sums, PrivateState> {
  const { name, layout, train, rounds } = options;
  return {
    name,
    rounds,
    participants: 'sampled',
    combine: 'sum',
    exactSums: true,
    start: ({ adapter }) => ({ start: adapter.factors, sum: zerosLike(adapter.factors), joined: 0 }),
    // Where everybody's own adapter begins.
    frozen: ({ start }) => prefixed(START, start),
    broadcast: ({ sum, joined }) => withCount(sum, joined),
    async *work(received, mine, kit) {
      const before = privateState(mine);
      const start = unprefixed(START, received);
      const sum = factorsOf(received, start);
      const own = before.personal && factorsOf(before.personal, start);
      const trained = yield* kit.train({
        from: { layout, factors: own ?? start },
        parametrisation: gatedBeside({ layout, factors: restOfWorld(sum, count(received), own) }),
        ...(before.personal && { params: before.personal }),
        ...training(train, kit),
        ...keptOptimizer(before, name),
      });
      const ended = factorsOf(trained.params, start);
      // The first update is the whole adapter, later ones are what changed since the last one that was accepted.
      const update = own ? subtract(ended, own) : ended;
      const after = keepOptimizer(before, name, options.optimizerState, trained.optimizerState);
      // What the server's sum holds of this client, to the bit.
      const personal = new Map([...trained.params, ...(own ? add(own, update) : ended)]);
      return { update: withCount(update, own ? 0 : 1), weight: 1, mine: { ...after, personal } };
    },
    apply: ({ start, sum, joined }, combined) => {
      const total = sumOf(combined);
      return { start, sum: add(sum, factorsOf(total, sum)), joined: joined + Math.round(count(total)) };
    },
    models: ({ start, sum, joined }, mine) => {
      const { personal } = privateState(mine);
      if (personal === undefined)
        return [{ adapter: { layout, factors: joined === 0 ? start : scale(sum, 1 / joined) }, weight: 1 }];
      const own = factorsOf(personal, start);
      return gatedPair(layout, personal, { layout, factors: restOfWorld(sum, joined, own) });
    },
  };
}

function sumOf(combined: Combined): Tensors {
  if (combined.kind !== 'sum') throw new Error('this stage applies the sum of the updates');
  return combined.sum;
}

/** (Σ − own)/(n − 1) over the n who have taken part, or Σ/n for someone who has not; nothing of nobody. With θ = (1, 2, 6) these are 4, 3.5 and 1.5. */
export function restOfWorld(sum: Tensors, joined: number, own: Tensors | undefined): Tensors {
  const others = own ? joined - 1 : joined;
  if (others <= 0) return zerosLike(sum);
  return scale(own ? addScaled(sum, own, -1) : sum, 1 / others);
}
