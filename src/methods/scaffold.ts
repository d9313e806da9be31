import { z } from 'zod';
import { UserError } from '../errors.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import { factors as allFactors } from '../lora/factors.ts';
import { sgd } from '../optim/sgd.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { add, addScaled, scale, subtract, zerosLike } from '../tensor/tensors.ts';
import { scheduleOf, stepsOf, type TrainSettings } from '../train/settings.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { prefixed, unprefixed } from './named.ts';
import { ownRounds } from './options.ts';
import type { Stage } from './stage.ts';

/** The server's factors x and variate c, and how many clients there are in all. */
export type ScaffoldState = { readonly factors: Tensors; readonly variate: Tensors; readonly clients: number };
/** A client's own variate c_k. */
export type Variate = { readonly variate?: Tensors };

/** SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378), option II. */
export const scaffold = defineMethod({
  name: 'scaffold',
  summary: 'plain SGD at the clients, corrected for their drift by control variates; twice the traffic of fedit',
  source:
    'arXiv 1910.06378, option II, applied to A and B: c_k ← c_k − c + (x − y)/Στη. Variates start at 0 and means are uniform, as in the ' +
    'paper. Its clients take plain SGD steps, so AdamW’s settings (rate, weight decay, clipping) do not apply.',
  capabilities: {
    ...averaging,
    uploads: 'A, B and variates',
    serverWeight: 'uniform',
    onReceipt: 'overwrites A, B and the server’s variate; keeps its own',
  },
  options: z.strictObject({
    rounds: ownRounds,
    rate: z
      .number()
      .positive()
      .default(0.1)
      .describe('learning rate of the clients’ plain SGD; to be tuned, AdamW’s does not carry over'),
    serverRate: z.number().positive().default(1).describe('step of the server along the clients’ mean update'),
  }),
  stages({ rate, serverRate, ...options }, { layout, rounds, train }) {
    if (train.keepBest !== undefined) {
      throw new UserError(
        'scaffold: the variates need the end of each training, not its best step: remove train.keepBest',
      );
    }
    return [controlled({ rounds: options.rounds ?? rounds, layout, train: { ...train, rate }, serverRate })];
  },
});

export interface Controlled {
  readonly rounds: number;
  readonly layout: LoraLayout;
  readonly train: TrainSettings;
  readonly serverRate: number;
}

function controlled({ rounds, layout, train, serverRate }: Controlled): Stage<ScaffoldState, Variate> {
  const parametrisation = allFactors();
  return {
    name: 'federated',
    rounds,
    participants: 'sampled',
    combine: 'sum',
    // A client's variate has to be what it sent; clipped, compressed or noised they would part.
    guards: 'none',
    start: ({ adapter, clients }) => ({
      factors: adapter.factors,
      variate: zerosLike(adapter.factors),
      clients: clients.length,
    }),
    broadcast: ({ factors, variate }) => new Map([...factors, ...prefixed('variate', variate)]),
    async *work(received, mine, kit) {
      const variate = unprefixed('variate', received);
      const start = new Map([...received].filter(([key]) => !key.startsWith('variate:')));
      const own = (mine as Variate | undefined)?.variate ?? zerosLike(start);
      const drift = subtract(variate, own);
      const steps = stepsOf(train.length, kit.examples, train);
      const rate = scheduleOf(train, kit);
      const { params } = yield* kit.train({
        from: { layout, factors: start },
        parametrisation,
        optimizer: sgd({ rate }),
        correct: (gradients) => add(gradients, drift),
        length: train.length,
        batchSize: train.batchSize,
        accumulate: train.accumulate,
      });
      // Στη: the rates of all steps, so that a schedule, and a rate that falls over rounds, keep c_k a mean gradient.
      const travelled = Array.from({ length: steps }, (_, step) => rate(step)).reduce((sum, each) => sum + each, 0);
      if (!(travelled > 0)) throw new Error('the rate of every step is 0: train.warmup is as long as the training');
      const moved = subtract(params, start);
      const change = scale(addScaled(scale(moved, 1 / travelled), variate, 1), -1);
      return {
        update: new Map([...moved, ...prefixed('variate', change)]),
        weight: 1,
        mine: { variate: add(own, change) },
      };
    },
    apply({ factors, variate, clients }, combined) {
      if (combined.kind !== 'sum') throw new Error('SCAFFOLD applies the sum of the updates');
      const moved = new Map([...combined.sum].filter(([key]) => !key.startsWith('variate:')));
      return {
        factors: addScaled(factors, moved, serverRate / combined.clients),
        variate: addScaled(variate, unprefixed('variate', combined.sum), 1 / clients),
        clients,
      };
    },
    models: ({ factors }) => [{ adapter: { layout, factors }, weight: 1 }],
  };
}
