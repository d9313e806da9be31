import { z } from 'zod';
import type { LoraLayout } from '../lora/adapter.ts';
import { shareOfRound } from '../optim/schedules.ts';
import type { TrainSettings } from '../train/settings.ts';
import { optimizerState } from './private-state.ts';
import type { MethodContext } from './stage.ts';
import { weighting } from './weights.ts';

/** Federated rounds, where a method may have its own number of them. */
export const ownRounds = z.int().positive().optional().describe('federated rounds, if not the run’s');

/** What every method that averages clients' trainings lets one choose. */
export const federatedOptions = { rounds: ownRounds, weights: weighting.default('examples'), optimizerState };

/** A method's options with what every stage of federated rounds is made of: its name, their number, what is trained, and how. */
export function federatedRounds<Options extends { readonly rounds?: number | undefined }>(
  options: Options,
  { layout, rounds, train }: MethodContext,
): Omit<Options, 'rounds'> & {
  readonly name: 'federated';
  readonly rounds: number;
  readonly layout: LoraLayout;
  readonly train: TrainSettings;
} {
  return { ...options, name: 'federated', rounds: options.rounds ?? rounds, layout, train };
}

/** How the rate of a server's own optimizer falls: `train.overRounds` is of clients' rates alone. */
export const serverOverRounds = z
  .enum(['constant', 'linear', 'cosine'])
  .optional()
  .describe(
    'how the server’s rate falls towards 0 over its steps, as `train.overRounds` says of clients’; `constant` if not said',
  );

export type ServerOverRounds = z.output<typeof serverOverRounds>;

/** The share of its rate with which a server takes step t (from 0) of so many. */
export const serverShare = (overRounds: ServerOverRounds, step: number, steps: number): number =>
  overRounds === undefined || overRounds === 'constant'
    ? 1
    : shareOfRound({ schedule: overRounds, floor: 0 }, step, steps);

/** How long and how fast a personal training goes on; what is left out comes from the run's `train` section. */
export const localOptions = z.strictObject({
  steps: z.int().positive().optional().describe('optimizer steps per client'),
  epochs: z.int().positive().optional().describe('passes over the client’s training rows, in place of steps'),
  rate: z.number().positive().optional().describe('learning rate'),
  schedule: z
    .enum(['constant', 'linear', 'cosine'])
    .optional()
    .describe('how it falls over these steps, if not as `train.schedule`'),
  keepBest: z
    .int()
    .positive()
    .optional()
    .describe('keep the params of the lowest validation loss, looked at every so many steps'),
});

/** The run's settings with a stage's own length, rate and selection put over them. */
export function withLocal(train: TrainSettings, own: z.output<typeof localOptions>): TrainSettings {
  return {
    ...train,
    ...(own.steps !== undefined && { length: { steps: own.steps } }),
    ...(own.epochs !== undefined && { length: { epochs: own.epochs } }),
    ...(own.rate !== undefined && { rate: own.rate }),
    ...(own.schedule !== undefined && { schedule: own.schedule }),
    ...(own.keepBest !== undefined && { keepBest: { every: own.keepBest } }),
  };
}
