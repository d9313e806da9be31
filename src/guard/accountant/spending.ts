import { UserError } from '../../errors.ts';

/** Rounds of the same kind: Gaussian noise of standard deviation `noise`·sensitivity on a Poisson sample of the clients. */
export interface Spending {
  /** The noise multiplier z: standard deviation of the noise over the norm to which every update is clipped. */
  readonly noise: number;
  /** The chance q of each client to be in a round, 0 < q ≤ 1, drawn anew and independently in every round. */
  readonly rate: number;
  /** How many such rounds, a whole number. */
  readonly steps: number;
}

/** Below this multiplier ε is in the thousands after one round: nothing is protected, and no accountant is needed to say so. */
export const leastNoise = 0.01;
/** Above this multiplier an update drowns: ε is that of no data at all. */
export const mostNoise = 1e6;

const refuse = (what: string, expected: string, got: unknown): never => {
  throw new UserError(`${what}: expected ${expected}, got ${String(got)}`);
};

export function requireRate(rate: number): void {
  if (!(rate > 0 && rate <= 1)) refuse('rate', 'the chance of a client to be in a round, above 0 and at most 1', rate);
}

export function requireSteps(steps: number): void {
  if (!(Number.isSafeInteger(steps) && steps >= 1)) refuse('steps', 'a whole number of rounds, at least 1', steps);
}

export function requireDelta(delta: number): void {
  if (!(delta > 0 && delta < 1)) refuse('delta', 'a probability above 0 and below 1, such as 1e-5', delta);
}

export function requireEpsilon(epsilon: number): void {
  if (!(epsilon > 0 && epsilon < Infinity)) refuse('epsilon', 'a number above 0', epsilon);
}

export function requireNoise(noise: number): void {
  if (!(noise >= leastNoise && noise <= mostNoise)) {
    const why = noise === 0 ? ' (without noise there is no differential privacy: ε is infinite)' : '';
    refuse('noise', `a multiplier from ${leastNoise} to ${mostNoise}${why}`, noise);
  }
}

/** Throws UserError, naming the number that is wrong and what would be right. */
export function requireSpending({ noise, rate, steps }: Spending): void {
  requireNoise(noise);
  requireRate(rate);
  requireSteps(steps);
}
