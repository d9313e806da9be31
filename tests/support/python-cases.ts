import { checkConfig } from '../../src/config/check.ts';
import type { RunConfig, RunConfigInput } from '../../src/config/schema.ts';
import { knownMethods } from '../../src/run/methods.ts';
import { embeddedModel } from './workspace.ts';

const base: RunConfigInput = {
  model: { path: embeddedModel },
  data: { format: 'jsonl', template: 'chat', maxLength: 96 },
  clients: { split: { validation: 0, test: 0 } },
  lora: { rank: 4, alpha: 8 },
  methods: [{ use: 'fedit' }],
  train: { batchSize: 8, steps: 5, rate: 1e-3 },
  serve: { clients: ['ann', 'ben'] },
  seed: 3,
};
const configured = (more: Partial<RunConfigInput>): RunConfig => checkConfig({ ...base, ...more }, knownMethods());
const optimizer = (options: object): Partial<RunConfigInput> => ({
  methods: [{ use: 'fedlora-optimizer', ...options }],
});

/** A stage's work, done by this project and by the Python client. */
export interface Case {
  readonly name: string;
  readonly config: RunConfig;
  readonly stage: string;
  /** Counted over all stages of this name, from 0. Default: 0. */
  readonly round?: number;
  /** What may differ: gradients, or numbers after optimizer steps (golden README). */
  readonly kind: 'gradient' | 'trained';
}

const training = { batchSize: 8, steps: 5, rate: 1e-3 };
/** All rows are in every step, so that their order does not matter. */
export const cases: Case[] = [
  {
    name: 'fedit',
    stage: 'federated',
    kind: 'trained',
    config: configured({ train: { ...training, clip: 0.1, weightDecay: 0.01, schedule: 'cosine', warmup: 1 } }),
  },
  {
    name: 'micro-batches',
    stage: 'federated',
    kind: 'trained',
    config: configured({ train: { batchSize: 2, accumulate: 3, epochs: 4, rate: 1e-3, clip: 0 } }),
  },
  {
    name: 'fedit-local',
    stage: 'local',
    kind: 'trained',
    config: configured({
      methods: [{ use: 'fedit', label: 'both', local: { steps: 4, rate: 2e-3 } }],
      train: { ...training, schedule: 'linear' },
    }),
  },
  {
    name: 'linear-over-rounds',
    stage: 'federated',
    round: 2,
    kind: 'trained',
    config: configured({
      rounds: { count: 4 },
      train: { ...training, overRounds: 'linear', floor: 0.25, schedule: 'linear', warmup: 1 },
    }),
  },
  {
    // The method's own number of rounds, each a stage by itself.
    name: 'cosine-over-rounds',
    stage: 'federated',
    round: 3,
    kind: 'trained',
    config: configured({
      ...optimizer({ schedule: 'interleaved', rounds: 5, global: { rounds: 5 } }),
      rounds: { count: 50 },
      train: { ...training, overRounds: 'cosine', floor: 0.1 },
    }),
  },
  ...(['fedit', 'fedlora-optimizer'] as const).map((use): Case => ({
    // One round has all of the rate.
    name: `${use}-local-over-rounds`,
    stage: 'local',
    kind: 'trained',
    config: configured({
      methods: [{ use, local: { steps: 3 } }],
      rounds: { count: 4 },
      train: { ...training, overRounds: 'linear' },
    }),
  })),
  ...(['fedit', 'fedlora-optimizer'] as const).map((use): Case => ({
    name: `${use}-local-schedule`,
    stage: 'local',
    kind: 'trained',
    config: configured({ methods: [{ use, local: { steps: 4, schedule: 'cosine' } }] }),
  })),
  {
    name: 'weights',
    stage: 'federated',
    kind: 'trained',
    config: configured(optimizer({ weights: 'tokens', rounds: 1 })),
  },
  ...(['column', 'rank', 'row'] as const).flatMap((axis): Case[] => [
    {
      name: `global-${axis}`,
      stage: 'global',
      kind: 'gradient',
      config: configured(optimizer({ axis, global: { rows: 'all' } })),
    },
    {
      name: `local-${axis}`,
      stage: 'local',
      kind: 'trained',
      config: configured(
        optimizer({ axis, lambda: 0.1, penalty: axis === 'rank' ? 'proximal' : 'coupled', local: { steps: 5 } }),
      ),
    },
  ]),
  {
    name: 'global-detach',
    stage: 'global',
    kind: 'gradient',
    config: configured({
      ...optimizer({ renormalise: 'detach', global: { rows: 8 } }),
      train: { ...training, batchSize: 2 },
    }),
  },
  {
    name: 'global-off',
    stage: 'global',
    kind: 'gradient',
    config: configured(optimizer({ axis: 'row', renormalise: 'off' })),
  },
];

/** What of a configuration a server tells. */
export const told = ({ model: _model, runtime: _runtime, serve: _serve, ...rest }: RunConfig): object => rest;

/** Runs that the Python client does not take part in. */
export const refused = {
  'another method': configured({ methods: [{ use: 'fedit' }, { use: 'scaffold' }] }),
  'a guard': configured({ guards: [{ use: 'clip', norm: 1 }] }),
  'a kept optimizer': configured({ methods: [{ use: 'fedit', optimizerState: 'keep' }] }),
  'an ablation': configured(optimizer({ local: { part: 'direction' } })),
  'the best of many': configured({ train: { ...training, keepBest: { every: 2 } } }),
  'two things': configured({ combine: 'secure', clients: { split: { test: 'given' } } }),
  'another format': configured({ data: { format: 'dolly' } }),
};

/** Ways in which rows become tokens. */
export const data = {
  chat: configured({}),
  plain: configured({ data: { format: 'jsonl', template: 'plain', separator: ' => ', maxLength: 96 } }),
};
