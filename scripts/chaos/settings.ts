/** Runs that take a moment: what is trained and combined, beside the embedded model and a handful of rows. */
export const settings = {
  fedit: { methods: [{ use: 'fedit', local: { steps: 1 } }] },
  clipped: { methods: [{ use: 'fedit' }], guards: [{ use: 'clip', norm: 0.02 }], rounds: 3 },
  kept: { methods: [{ use: 'fedit', optimizerState: 'keep' }] },
  scaffold: { methods: [{ use: 'scaffold' }] },
  stacked: { methods: [{ use: 'flora' }] },
  optimizer: {
    methods: [
      { use: 'fedlora-optimizer', global: { rounds: 1, rows: 2 }, local: { steps: 1 }, optimizerState: 'keep' },
    ],
  },
} as const satisfies Record<string, Setting>;

interface Setting {
  readonly methods: readonly { readonly use: string; readonly [option: string]: unknown }[];
  readonly guards?: readonly object[];
  readonly rounds?: number;
}

export type SettingName = keyof typeof settings;

const split = { limit: 6, split: { validation: 1, test: 1 } };
const data = { format: 'jsonl', template: 'plain', maxLength: 64 };

function common(name: SettingName, model: string): object {
  const { methods, guards = [], rounds = 2 }: Setting = settings[name];
  return {
    model: { path: model },
    lora: { rank: 1, alpha: 2, targets: ['q_proj'] },
    methods,
    ...(guards.length > 0 && { guards }),
    // A round goes on with whoever is there.
    rounds: { count: rounds, minimum: 1, deadline: 120 },
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
  serve: { clients, port: 0, lease, gather: 60, linger: 15 },
});

/** The same run as a simulation: what it comes to when nothing goes wrong. */
export const simulated = (name: SettingName, model: string, rows: string): object => ({
  ...common(name, model),
  data: { ...data, path: rows },
  clients: { partition: 'column', column: 'client', ...split },
});
