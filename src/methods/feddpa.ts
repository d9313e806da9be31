import { z } from 'zod';
import { keyOfB, type Adapter, type AdapterMix, type LoraLayout } from '../lora/adapter.ts';
import { beside } from '../lora/beside.ts';
import { factors as allFactors } from '../lora/factors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { mapTensors, zeros } from '../tensor/tensors.ts';
import { training, type TrainSettings } from '../train/settings.ts';
import { averageFactors, type AveragedTraining } from './average-factors.ts';
import { averaging } from './capabilities.ts';
import { atEveryClient } from './local-training.ts';
import { defineMethod } from './method.ts';
import { federatedOptions, federatedRounds, localOptions, withLocal } from './options.ts';
import { privateState, type PrivateState } from './private-state.ts';
import type { Stage } from './stage.ts';

/** FedDPA (Yang et al. 2024, arXiv 2403.19211): a global adapter by FedIT and a local one that is never sent, their products mixed. */
export const feddpa = defineMethod({
  name: 'feddpa',
  summary: 'a global adapter by federated averaging and a local one at each client; the model mixes their products',
  source:
    'arXiv 2403.19211 and its code: the local adapter is trained with the global one frozen beside it in an (α, 1 − α) mix. `mixing: likeness` ' +
    'weighs as the paper does: α = factor · the mean cosine between a prompt and some of the client’s own (last hidden state of the last token, local adapter ' +
    'alone), within 0 … 1; the default, a fixed α, costs no second pass. Choices here: the client’s prompts are drawn anew whenever its local adapter has been trained; a row’s prompt is what ' +
    'precedes its first labelled token. A local adapter begins with the A its client is sent and B = 0.',
  capabilities: { ...averaging, onReceipt: 'overwrites A, B; keeps its local adapter' },
  options: z.strictObject({
    ...federatedOptions,
    variant: z
      .enum(['T', 'F'])
      .default('T')
      .describe(
        '`T`: each round from the second trains the local adapter, then the global; `F`: the local ones after all rounds',
      ),
    mix: z.number().gt(0).lt(1).default(0.5).describe('α, the part of the local adapter; the global one has 1 − α'),
    mixing: z
      .enum(['fixed', 'likeness'])
      .default('fixed')
      .describe(
        'α where the model is used: `fixed` as in training, or by the `likeness` of each prompt to the client’s own',
      ),
    prompts: z
      .int()
      .positive()
      .default(5)
      .describe('`likeness`: how many of the client’s own prompts it is compared with'),
    factor: z.number().gt(0).max(1).default(0.5).describe('`likeness`: α = factor · mean cosine'),
    local: localOptions.prefault({}).describe('the training of local adapters; by default as `train`'),
  }),
  stages: ({ variant, mix, local, mixing, prompts, factor, ...options }, context) => {
    const { layout, train } = context;
    const federated: AveragedTraining = { ...federatedRounds(options, context), parametrisation: allFactors() };
    const likeness = mixing === 'likeness' ? { prompts, factor } : undefined;
    const dual: Dual = { layout, mix, train: withLocal(train, local), ...(likeness && { likeness }) };
    return variant === 'T' ? [together(federated, dual)] : [averageFactors(federated), afterwards(dual)];
  },
});

interface Dual {
  readonly layout: LoraLayout;
  /** α. */
  readonly mix: number;
  readonly train: TrainSettings;
  readonly likeness?: { readonly prompts: number; readonly factor: number };
}

function together(federated: AveragedTraining, dual: Dual): Stage<Tensors, PrivateState> {
  const averaged = averageFactors(federated);
  return {
    ...averaged,
    async *work(received, mine, kit) {
      // In the first round the global adapter has learnt nothing yet that a local one could stand beside.
      const without = kit.round === 0 || kit.server;
      const personal = without ? {} : yield* trainLocal(dual, received, mine, kit);
      const shared = yield* averaged.work(received, mine, kit);
      return { ...shared, mine: { ...shared.mine, ...personal } };
    },
    models: (factors, mine) => mixed(dual, factors, privateState(mine)),
  };
}

function afterwards(dual: Dual): Stage<Tensors, PrivateState> {
  return {
    ...atEveryClient,
    name: 'local',
    async *work(received, mine, kit) {
      const personal = yield* trainLocal(dual, received, mine, kit);
      return { update: new Map(), weight: 1, mine: { ...privateState(mine), ...personal } };
    },
    models: (factors, mine) => mixed(dual, factors, privateState(mine)),
  };
}

async function* trainLocal(
  { layout, mix, train, likeness }: Dual,
  received: Tensors,
  mine: Parameters<Stage['work']>[1],
  kit: Parameters<Stage['work']>[2],
) {
  const global: Adapter = { layout, factors: received };
  const trained = yield* kit.train({
    from: { layout, factors: privateState(mine).personal ?? fresh(layout, received) },
    parametrisation: beside(allFactors(), [{ adapter: global, weight: 1 - mix }], mix),
    ...training(train, kit),
  });
  const personal = trained.params;
  if (likeness === undefined) return { personal };
  const from: Adapter = { layout, factors: personal };
  return { personal, references: await kit.represent({ from, prompts: likeness.prompts }) };
}

function fresh({ modules }: LoraLayout, factors: Tensors): Tensors {
  const isB = new Set(modules.map(({ name }) => keyOfB(name)));
  return mapTensors(factors, (tensor, key) => (isB.has(key) ? zeros(tensor.shape) : tensor));
}

/** α·local + (1 − α)·global as products, never as factors; the global one alone where there is no local one yet. */
function mixed({ layout, mix, likeness }: Dual, factors: Tensors, { personal, references }: PrivateState): AdapterMix {
  const global: Adapter = { layout, factors };
  if (personal === undefined) return [{ adapter: global, weight: 1 }];
  const weighed = likeness && references && { likeness: { references, factor: likeness.factor } };
  return [
    { adapter: { layout, factors: personal }, weight: mix, name: 'local', ...weighed },
    { adapter: global, weight: 1 - mix, name: 'global' },
  ];
}
