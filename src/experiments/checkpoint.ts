import { UserError } from '../errors.ts';

/**
 * After how many optimizer steps the checkpoint at this share of a training is taken, 1 … steps − 1. Throws UserError where
 * the share falls before the first step, where B is 0 and has no direction, or on the last.
 */
export function checkpointStep(at: number, steps: number, client: string): number {
  if (!(at > 0 && at < 1)) throw new UserError(`--at: expected a share between 0 and 1, got ${at}`);
  // Ten of a hundred are 10 also where the product is 9.999…
  if (at * steps < 1 - 1e-9) {
    throw new UserError(
      `${client} trains ${steps} step(s), and its checkpoint at ${at} of them would be step 0, where B = 0 has no direction: ` +
        `train at least ${Math.ceil(1 / at - 1e-9)} steps (--steps), or take a later one (--at)`,
    );
  }
  const step = Math.round(at * steps);
  if (step >= steps) {
    throw new UserError(
      `${client} trains ${steps} step(s), and its checkpoint at ${at} of them is the last: take an earlier one (--at)`,
    );
  }
  return step;
}
