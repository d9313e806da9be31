import { adamw } from '../optim/adamw.ts';
import { chain } from '../optim/chain.ts';
import { clipByGlobalNorm } from '../optim/clip.ts';
import type { Schedule } from '../optim/optimizer.ts';
import { constant, warmupCosine, warmupLinear } from '../optim/schedules.ts';
import type { TrainRequest } from './kit.ts';

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

/** The learning rate over one task of so many steps. */
export function scheduleOf(settings: Pick<TrainSettings, 'rate' | 'schedule' | 'warmup'>, steps: number): Schedule {
  switch (settings.schedule) {
    case 'constant':
      return constant(settings.rate, settings.warmup);
    case 'linear':
      return warmupLinear(settings.rate, settings.warmup, steps);
    case 'cosine':
      return warmupCosine(settings.rate, settings.warmup, steps);
  }
}

/** AdamW with the settings' schedule and clipping: the parts of a train request that every method shares. */
export function training(
  settings: TrainSettings,
  rows: number,
): Pick<TrainRequest, 'optimizer' | 'length' | 'batchSize' | 'accumulate'> & Partial<Pick<TrainRequest, 'keepBest'>> {
  const rate = scheduleOf(settings, stepsOf(settings.length, rows, settings));
  const step = adamw({ rate, weightDecay: settings.weightDecay });
  return {
    optimizer: settings.clip > 0 ? chain(clipByGlobalNorm(settings.clip), step) : step,
    length: settings.length,
    batchSize: settings.batchSize,
    accumulate: settings.accumulate,
    ...(settings.keepBest && { keepBest: settings.keepBest }),
  };
}
