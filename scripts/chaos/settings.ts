const clip = { use: 'clip', norm: 0.02 };

/** Runs that take a moment: what is trained and combined, beside the embedded model and a handful of rows. */
export const settings = {
  fedit: { methods: [{ use: 'fedit', local: { steps: 1 } }] },
  clipped: { methods: [{ use: 'fedit' }], guards: [clip], rounds: 3 },
  kept: { methods: [{ use: 'fedit', optimizerState: 'keep' }] },
  scaffold: { methods: [{ use: 'scaffold' }] },
  stacked: { methods: [{ use: 'flora' }] },
  optimizer: {
    methods: [
      { use: 'fedlora-optimizer', global: { rounds: 1, rows: 2 }, local: { steps: 1 }, optimizerState: 'keep' },
    ],
  },
  int8: { methods: [{ use: 'fedit' }], guards: [{ use: 'int8' }] },
  sparse: {
    methods: [{ use: 'fedit', local: { steps: 1 } }],
    guards: [{ use: 'top-k', share: 0.25 }, clip],
    rounds: 3,
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
} as const satisfies Record<string, Setting>;

interface Setting {
  readonly methods: readonly { readonly use: string; readonly [option: string]: unknown }[];
  readonly guards?: readonly object[];
  readonly rounds?: number;
  readonly sampling?: object;
  readonly combine?: string;
  /** So many, where it cannot be fewer. */
  readonly clients?: number;
}

export type SettingName = keyof typeof settings;

export const clientsOf = (name: SettingName): number | undefined => (settings[name] as Setting).clients;

const split = { limit: 6, split: { validation: 1, test: 1 } };
const data = { format: 'jsonl', template: 'plain', maxLength: 64 };

function common(name: SettingName, model: string): object {
  const { methods, guards = [], rounds = 2, sampling, combine }: Setting = settings[name];
  return {
    model: { path: model },
    lora: { rank: 1, alpha: 2, targets: ['q_proj'] },
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

/** What the server is given. */
export const served = (name: SettingName, model: string, clients: readonly string[], lease: number): object => ({
  ...common(name, model),
  data,
  clients: split,
  serve: { clients, port: 0, lease, gather: 60, linger: 15, sumDeadline: 45 },
});

/** The same run as a simulation: what it comes to when nothing goes wrong. */
export const simulated = (name: SettingName, model: string, rows: string): object => ({
  ...common(name, model),
  data: { ...data, path: rows },
  clients: { partition: 'column', column: 'client', ...split },
});
