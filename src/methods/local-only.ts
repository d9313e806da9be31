import { factors } from '../lora/factors.ts';
import type { Length } from '../train/settings.ts';
import { localTraining } from './local-training.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { localOptions, withLocal } from './options.ts';

/** Every client trains its own adapter from the common start; nothing is shared. The global model stays the untrained start. */
export const localOnly = defineMethod({
  name: 'local-only',
  summary: 'no federation: each client trains its own A and B, by default with the work of all federated rounds',
  source: 'The usual lower bound on what sharing is worth.',
  capabilities: {
    ...averaging,
    uploads: 'nothing',
    serverWeight: 'none',
    onReceipt: 'begins at A, B',
    exact: 'none',
  },
  options: localOptions,
  stages: (options, { layout, rounds, fraction, train }) => [
    localTraining({
      name: 'local',
      layout,
      parametrisation: factors(),
      train: withLocal({ ...train, length: times(train.length, rounds * fraction) }, options),
    }),
  ],
});

/** The work of so many rounds in one piece. */
export function times(length: Length, rounds: number): Length {
  const count = (one: number): number => Math.max(1, Math.round(one * rounds));
  return 'steps' in length ? { steps: count(length.steps) } : { epochs: count(length.epochs) };
}
