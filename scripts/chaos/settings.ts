import type { RobustRule } from '../../src/federation/robust/rule.ts';

const clip = { use: 'clip', norm: 0.02 };

/** Runs that take a moment: what is trained and combined, beside the embedded model and a handful of rows. */
export const settings = {
  fedit: { methods: [{ use: 'fedit', local: { steps: 1 } }] },
  clipped: { methods: [{ use: 'fedit' }], guards: [clip], rounds: 3 },
  kept: { methods: [{ use: 'fedit', optimizerState: 'keep' }], remembers: true },
  scaffold: { methods: [{ use: 'scaffold' }], remembers: true },
  stacked: { methods: [{ use: 'flora' }] },
  optimizer: {
    methods: [
      { use: 'fedlora-optimizer', global: { rounds: 1, rows: 2 }, local: { steps: 1 }, optimizerState: 'keep' },
    ],
    remembers: true,
  },
  int8: { methods: [{ use: 'fedit' }], guards: [{ use: 'int8' }] },
  sparse: {
    methods: [{ use: 'fedit', local: { steps: 1 } }],
    guards: [{ use: 'top-k', share: 0.25 }, clip],
    rounds: 3,
    remembers: true,
  },
  late: {
    methods: [{ use: 'fedit', local: { steps: 1 } }],
    sampling: { sampling: 'fixed', fraction: 0.6, overSampling: 1.5 },
    rounds: 3,
  },
  secure: { methods: [{ use: 'fedit', local: { steps: 1 } }], guards: [clip], combine: 'secure', clients: 4 },
  private: {
    methods: [{ use: 'fedit' }],
    guards: [{ use: 'int8' }, clip, { use: 'privacy', noise: 1, delta: 1e-5 }],
    sampling: { sampling: 'poisson', fraction: 0.8 },
    rounds: 4,
  },
  adaptive: {
    methods: [{ use: 'fedit', local: { steps: 1 } }],
    guards: [{ use: 'adaptive-clip', initial: 0.01 }],
    rounds: 3,
  },
  masked: {
    methods: [{ use: 'fedit' }],
    guards: [clip, { use: 'privacy', noise: 1, delta: 1e-5 }],
    combine: 'secure',
    rounds: 3,
    clients: 4,
  },
  rows: {
    methods: [{ use: 'fedit', optimizerState: 'keep' }],
    guards: [clip],
    combine: 'secure',
    rounds: 3,
    clients: 4,
    remembers: true,
    ownRows: true,
  },
  median: {
    methods: [{ use: 'fedit', local: { steps: 1 } }],
    combine: { robust: { rule: 'median' } },
    rounds: 3,
    clients: 4,
    poisoned: true,
  },
  trimmed: {
    methods: [{ use: 'scaffold' }],
    combine: { robust: { rule: 'trimmed-mean', share: 0.34 } },
    remembers: true,
    clients: 4,
    poisoned: true,
  },
  residual: { methods: [{ use: 'fedex-lora' }], rounds: 3 },
  ranked: { methods: [{ use: 'flora', ranks: { aurora: 1 } }], rank: 2, rounds: 3 },
  padded: { methods: [{ use: 'hetlora', ranks: { aurora: 1 } }], rank: 2, rounds: 3, remembers: true },
  mixed: { methods: [{ use: 'fedalt', optimizerState: 'keep' }], rounds: 3, remembers: true },
  pulled: { methods: [{ use: 'ditto', local: { steps: 1 } }], remembers: true },
  dual: { methods: [{ use: 'feddpa' }], remembers: true },
  core: { methods: [{ use: 'fed-sb' }], rank: 2, rounds: 3 },
  python: {
    methods: [
      { use: 'fedit', local: { steps: 1 } },
      { use: 'fedlora-optimizer', rounds: 1, global: { rounds: 1, rows: 2 }, local: { steps: 1 } },
    ],
    python: true,
  },
} as const satisfies Record<string, Setting>;

interface Setting {
  readonly methods: readonly { readonly use: string; readonly [option: string]: unknown }[];
  readonly guards?: readonly object[];
  readonly rounds?: number;
  readonly sampling?: object;
  readonly combine?: 'secure' | { readonly robust: RobustRule };
  /** Of the adapters; default 1. */
  readonly rank?: number;
  /** Whether the bad client sends updates of the right form too, which count: a rule has to bear them. */
  readonly poisoned?: true;
  /** Whether clients keep something of a round that the next one's updates depend on. */
  readonly remembers?: true;
  /** Whether the server trains on rows of its own, as one more who adds up. */
  readonly ownRows?: true;
  /** Whether one of its clients is the one in Python. */
  readonly python?: true;
  /** So many, where it cannot be fewer. */
  readonly clients?: number;
}

export type SettingName = keyof typeof settings;

const settingOf = (name: SettingName): Setting => settings[name];

/** Where each sum gets noise, at the server or by its clients. */
export const isPrivate = (name: SettingName): boolean =>
  (settingOf(name).guards ?? []).some((guard) => 'use' in guard && guard.use === 'privacy');
export const isSecure = (name: SettingName): boolean => settingOf(name).combine === 'secure';
export const isPoisoned = (name: SettingName): boolean => settingOf(name).poisoned === true;
export const remembers = (name: SettingName): boolean => settingOf(name).remembers === true;
export const hasOwnRows = (name: SettingName): boolean => settingOf(name).ownRows === true;
/** Whether a client keeps something for itself of this stage. */
export const keepsOf = (name: SettingName, stage: string): boolean =>
  stage === 'local' || (remembers(name) && name !== 'optimizer');
/** Whether what the server has follows from it, so that nobody takes part without. */
export const needs = (name: SettingName): boolean =>
  settingOf(name).methods.some(({ use }) => use === 'scaffold' || use === 'fedalt');
export const hasPython = (name: SettingName): boolean => settingOf(name).python === true;
export const ruleOf = (name: SettingName): RobustRule | undefined => {
  const { combine } = settingOf(name);
  return typeof combine === 'object' ? combine.robust : undefined;
};

export const clientsOf = (name: SettingName): number | undefined => settingOf(name).clients;

const split = { limit: 6, split: { validation: 1, test: 1 } };
const data = { format: 'jsonl', template: 'plain', maxLength: 64 };

function common(name: SettingName, model: string): object {
  const { methods, guards = [], rounds = 2, rank = 1, sampling, combine } = settingOf(name);
  return {
    model: { path: model },
    lora: { rank, alpha: 2, targets: ['q_proj'] },
    methods,
    ...(guards.length > 0 && { guards }),
    // A round goes on with whoever is there.
    rounds: { count: rounds, minimum: 1, deadline: 120, ...sampling },
    ...(combine !== undefined && { combine }),
    train: { batchSize: 2, steps: 1, rate: 1e-3 },
    evaluate: { every: 0 },
    runtime: { threads: 1 },
    seed: 5,
  };
}

const ownRowsOf = (name: SettingName, path: string): object => (hasOwnRows(name) ? { proxy: { path } } : {});

/** What the server is given; `own`: a file of rows of its own. */
export const served = (
  name: SettingName,
  {
    model,
    clients,
    lease,
    tls,
    own,
  }: { model: string; clients: readonly string[]; lease: number; tls: boolean; own: string },
): object => ({
  ...common(name, model),
  data,
  clients: { ...split, ...ownRowsOf(name, own) },
  serve: {
    clients,
    port: 0,
    lease,
    // A machine that is busy takes a minute to load PyTorch.
    gather: hasPython(name) ? 180 : 60,
    linger: 15,
    sumDeadline: 45,
    ...(tls && { tls: 'development' }),
  },
});

/** The same run as a simulation: what it comes to when nothing goes wrong. */
export const simulated = (name: SettingName, model: string, rows: string, own: string): object => ({
  ...common(name, model),
  data: { ...data, path: rows },
  clients: { partition: 'column', column: 'client', ...split, ...ownRowsOf(name, own) },
});
