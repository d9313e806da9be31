import type { Schedule } from './optimizer.ts';

/** The rate of a step (from 0). Throws where a schedule gives what cannot be a rate. */
export function rateAt(rate: number | Schedule, step: number): number {
  const now = typeof rate === 'number' ? rate : rate(step);
  if (!(now >= 0 && now < Infinity))
    throw new Error(`the learning rate of step ${step} is ${now}; it must be at least 0`);
  return now;
}

// Transformers' get_*_schedule_with_warmup: step s < warmup has rate·s/warmup, so the first of several warm-up steps has rate 0.
const ramp = (step: number, warmup: number): number => step / Math.max(1, warmup);

/** How far a step is between the end of the warm-up (0) and `steps` (1). */
const progress = (step: number, warmup: number, steps: number): number =>
  Math.min(1, (step - warmup) / Math.max(1, steps - warmup));

/** After `warmup` steps from 0 upwards, always `rate` (Transformers' get_constant_schedule_with_warmup). */
export const constant =
  (rate: number, warmup = 0): Schedule =>
  (step) =>
    step < warmup ? rate * ramp(step, warmup) : rate;

/** After the warm-up, in a line down to 0 at step `steps` and later (get_linear_schedule_with_warmup). */
export const warmupLinear =
  (rate: number, warmup: number, steps: number): Schedule =>
  (step) =>
    rate * (step < warmup ? ramp(step, warmup) : 1 - progress(step, warmup, steps));

/** After the warm-up, half a cosine down to 0 at step `steps` and later (get_cosine_schedule_with_warmup, half a cycle). */
export const warmupCosine =
  (rate: number, warmup: number, steps: number): Schedule =>
  (step) =>
    rate * (step < warmup ? ramp(step, warmup) : 0.5 * (1 + Math.cos(Math.PI * progress(step, warmup, steps))));

/** How a rate falls over the rounds of a federation. */
export interface OverRounds {
  readonly schedule: 'linear' | 'cosine';
  /** The share of the rate towards which it falls, 0 … 1. */
  readonly floor: number;
}

/**
 * The share of the rate that round t (from 0) of T has: floor + (1 − floor)·(1 − t/T), or with a cosine floor +
 * (1 − floor)·½(1 + cos πt/T). The first round has all of it; at `floor` a round after the last would be, so that none is for nothing.
 * OpenFedLLM's `cosine_learning_rate`, with floor = min_lr/initial_lr. Throws where there is no such round.
 */
export function shareOfRound({ schedule, floor }: OverRounds, round: number, rounds: number): number {
  if (!(round >= 0 && round < rounds)) throw new Error(`round ${round + 1} of ${rounds} has no learning rate`);
  const passed = round / rounds;
  return 1 - (1 - floor) * (schedule === 'linear' ? passed : 0.5 * (1 - Math.cos(Math.PI * passed)));
}
