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
