import { z } from 'zod';
import { factors as allFactors } from '../lora/factors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { stepsOf, type TrainSettings } from '../train/settings.ts';
import { averageFactors } from './average-factors.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { ownRounds } from './options.ts';
import type { PrivateState } from './private-state.ts';
import type { MethodContext, Stage } from './stage.ts';

/** Training on all clients' rows at once: what no federation can do, and the usual upper bound for a global model. */
export const centralised = defineMethod({
  name: 'centralised',
  summary: 'no federation: one training of A and B on all clients’ rows, with the work of all federated rounds',
  source:
    'The usual upper bound. Each round has as many optimizer steps as the clients of a federated round take together (with ' +
    '`train.epochs`: as many passes over the pooled rows, times the share of those in a round); the optimizer goes on from round to round.',
  capabilities: { ...averaging, serverWeight: 'none', exact: 'none', secureAggregation: false },
  options: z.strictObject({
    rounds: ownRounds,
    optimizerState: z
      .enum(['reset', 'keep'])
      .default('keep')
      .describe('whether AdamW starts afresh each round, or goes on'),
  }),
  stages: (options, context) => [pooledTraining(options.rounds ?? context.rounds, options.optimizerState, context)],
});

/** The factors, who is pooled, and whether the server's own rows are one of them. */
type PooledState = { readonly factors: Tensors; readonly clients: number; readonly proxy: boolean };

/** Beside the factors, what the work depends on. */
const POOL = 'pool';

function pooledTraining(
  rounds: number,
  state: 'reset' | 'keep',
  { layout, fraction, train }: MethodContext,
): Stage<PooledState, PrivateState> {
  const training = (length: TrainSettings['length']): Stage<Tensors, PrivateState> =>
    averageFactors({
      name: 'pooled',
      rounds,
      layout,
      parametrisation: allFactors(),
      train: { ...train, length },
      weights: 'uniform',
      optimizerState: state,
    });
  return {
    name: 'pooled',
    rounds,
    participants: 'pooled',
    combine: 'sum',
    start: ({ adapter, clients, proxy = false }) => ({ factors: adapter.factors, clients: clients.length, proxy }),
    broadcast: ({ factors, clients, proxy }) =>
      new Map([...factors, [POOL, { shape: [2], data: Float32Array.of(clients, proxy ? 1 : 0) }]]),
    work(received, mine, kit) {
      const [clients, proxy] = received.get(POOL)!.data as unknown as readonly [number, number];
      const whole = 'steps' in train.length ? train.length.steps * clients : stepsOf(train.length, kit.examples, train);
      // Clients are sampled; the server's own rows are in every round.
      const share = (fraction * (clients - proxy) + proxy) / clients;
      const steps = Math.max(1, Math.round(whole * share));
      return training({ steps }).work(new Map([...received].filter(([key]) => key !== POOL)), mine, kit);
    },
    apply: (state, combined, round) => ({
      ...state,
      factors: training(train.length).apply(state.factors, combined, round),
    }),
    models: ({ factors }) => [{ adapter: { layout, factors }, weight: 1 }],
  };
}
