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
    '`train.epochs`: as many passes over the pooled rows, times the share of clients in a round); the optimizer goes on from round to round.',
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

/** The factors, and how many clients a round stands for. */
type PooledState = { readonly factors: Tensors; readonly clients: number };

/** Beside the factors, the one number that the work depends on. */
const CLIENTS = 'clients';

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
    start: ({ adapter, clients }) => ({ factors: adapter.factors, clients: clients.length }),
    broadcast: ({ factors, clients }) =>
      new Map([...factors, [CLIENTS, { shape: [], data: Float32Array.of(clients) }]]),
    work(received, mine, kit) {
      const clients = received.get(CLIENTS)!.data[0]!;
      const whole = 'steps' in train.length ? train.length.steps * clients : stepsOf(train.length, kit.examples, train);
      const steps = Math.max(1, Math.round(whole * fraction));
      return training({ steps }).work(new Map([...received].filter(([key]) => key !== CLIENTS)), mine, kit);
    },
    apply: ({ factors, clients }, combined, round) => ({
      factors: training(train.length).apply(factors, combined, round),
      clients,
    }),
    models: ({ factors }) => [{ adapter: { layout, factors }, weight: 1 }],
  };
}
