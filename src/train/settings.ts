import { adamw } from '../optim/adamw.ts';
import { chain } from '../optim/chain.ts';
import { clipByGlobalNorm } from '../optim/clip.ts';
import type { Schedule } from '../optim/optimizer.ts';
import { constant, shareOfRound, warmupCosine, warmupLinear, type OverRounds } from '../optim/schedules.ts';
import type { ClientKit, TrainRequest } from './kit.ts';

/** Local work: optimizer steps, or whole passes over the client's training rows. */
export type Length = { readonly steps: number } | { readonly epochs: number };

/** The run's `train` section: what every method trains with unless its own options say otherwise. */
export interface TrainSettings {
  readonly batchSize: number;
  readonly accumulate: number;
  /** Local work per round. */
  readonly length: Length;
  readonly rate: number;
  readonly schedule: 'constant' | 'linear' | 'cosine';
  /** Warm-up steps at the start of each round's schedule. */
  readonly warmup: number;
  /** How the rate falls over the rounds of a stage. Default: every round has the same. */
  readonly overRounds?: OverRounds | undefined;
  readonly weightDecay: number;
  /** Largest global norm of a gradient; 0 for none. */
  readonly clip: number;
  readonly keepBest: { readonly every: number } | undefined;
}

/** Optimizer steps that `length` means for a client with so many training rows. */
export function stepsOf(
  length: Length,
  rows: number,
  settings: Pick<TrainSettings, 'batchSize' | 'accumulate'>,
): number {
  if ('steps' in length) return length.steps;
  return length.epochs * Math.ceil(Math.ceil(rows / settings.batchSize) / settings.accumulate);
}

/** What a learning rate goes by beside the settings: rows, and where the round stands. */
export type Placed = Pick<ClientKit, 'examples' | 'overall'>;

/** The learning rate of each step of one client's task. */
export function scheduleOf(settings: TrainSettings, kit: Placed): Schedule {
  const { schedule, warmup, overRounds } = settings;
  const share = overRounds ? shareOfRound(overRounds, kit.overall.round, kit.overall.rounds) : 1;
  const rate = settings.rate * share;
  const steps = stepsOf(settings.length, kit.examples, settings);
  switch (schedule) {
    case 'constant':
      return constant(rate, warmup);
    case 'linear':
      return warmupLinear(rate, warmup, steps);
    case 'cosine':
      return warmupCosine(rate, warmup, steps);
  }
}

/** AdamW with the settings' rate in this round, schedule and clipping: the parts of a train request that every method shares. */
export function training(
  settings: TrainSettings,
  kit: Placed,
): Pick<TrainRequest, 'optimizer' | 'length' | 'batchSize' | 'accumulate'> & Partial<Pick<TrainRequest, 'keepBest'>> {
  const rate = scheduleOf(settings, kit);
  const step = adamw({ rate, weightDecay: settings.weightDecay });
  return {
    optimizer: settings.clip > 0 ? chain(clipByGlobalNorm(settings.clip), step) : step,
    length: settings.length,
    batchSize: settings.batchSize,
    accumulate: settings.accumulate,
    ...(settings.keepBest && { keepBest: settings.keepBest }),
  };
}
