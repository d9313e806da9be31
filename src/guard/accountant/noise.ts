import { UserError } from '../../errors.ts';
import { gridFor } from './grid.ts';
import { prvEpsilon, type EpsilonBounds } from './prv.ts';
import { rdpEpsilon } from './rdp.ts';
import { leastNoise, mostNoise, requireDelta, requireEpsilon, requireRate, requireSteps } from './spending.ts';

/** `rdp`: Rényi divergences, fast, a bound. `prv`: the privacy loss itself, tighter by about a tenth, within seconds. */
export type Accountant = 'rdp' | 'prv';
export const accountants = ['rdp', 'prv'] as const satisfies readonly Accountant[];

export interface NoiseQuestion {
  /** Wanted: at most this ε. */
  readonly epsilon: number;
  readonly delta: number;
  readonly rate: number;
  readonly steps: number;
  readonly accountant: Accountant;
}

/**
 * The least noise multiplier, to about a thousandth, whose ε (for `prv` its upper bound) is at most the wanted one, and that ε.
 * Throws UserError where no noise between `leastNoise` and `mostNoise` does it, or the accountant cannot show that it does.
 */
export function noiseFor({ epsilon: wanted, delta, rate, steps, accountant }: NoiseQuestion): {
  readonly noise: number;
  readonly epsilon: number;
} {
  requireEpsilon(wanted);
  requireDelta(delta);
  requireRate(rate);
  requireSteps(steps);
  const byRdp = search((noise) => rdpEpsilon([{ noise, rate, steps }], delta).epsilon, wanted, 1);
  if (accountant === 'rdp') return { ...byRdp, noise: roundedUp(byRdp.noise) };
  // Bounds wide compared with the tolerance of the search would be paid for in noise.
  const precision = Math.min(0.005, wanted / 200);
  const prv = (noise: number, precision: number): EpsilonBounds =>
    prvEpsilon([{ noise, rate, steps }], delta, precision);
  // The estimate hardly depends on the mesh: search on a coarse one, then hold what was found to the bound of the fine one.
  const coarse = (noise: number): number => prv(noise, 8 * precision).estimate + precision;
  // The grid has an end: bounds that stay wide would be paid for in noise, step by step for hours.
  if (gridFor([{ noise: byRdp.noise, rate, steps }], delta, precision).epsilonError > wanted / 50) {
    throw new UserError(
      `epsilon: ${wanted} is finer than the PRV accountant can tell over ${steps} rounds; use the RDP accountant, or a larger ε`,
    );
  }
  for (let { noise } = search(coarse, wanted, byRdp.noise); ; noise *= 1.0005) {
    const epsilon = prv(noise, precision).upper;
    if (epsilon <= wanted) return { noise: roundedUp(noise), epsilon };
  }
}

/** To six digits: what people copy must not promise less than what was found. */
function roundedUp(noise: number): number {
  const unit = 10 ** (Math.floor(Math.log10(noise)) - 5);
  return Number((Math.ceil(noise / unit) * unit).toPrecision(6));
}

interface Point {
  readonly noise: number;
  readonly epsilon: number;
}

/** Brackets a decreasing ε(noise) around `wanted` from a guess, then closes in on it from the safe side. */
function search(epsilonAt: (noise: number) => number, wanted: number, guess: number): Point {
  const at = (noise: number): Point => ({ noise, epsilon: epsilonAt(noise) });
  let high = at(guess);
  let low = high;
  while (high.epsilon > wanted) {
    if (high.noise >= mostNoise) {
      throw new UserError(
        `epsilon: ${wanted} cannot be shown with any noise multiplier up to ${mostNoise}: the accountant’s bound there is ${high.epsilon.toPrecision(3)}`,
      );
    }
    low = high;
    high = at(Math.min(mostNoise, high.noise * 1.3));
  }
  while (low.epsilon <= wanted) {
    if (low.noise <= leastNoise) {
      throw new UserError(
        `epsilon: ${wanted} is kept even with the least noise multiplier, ${leastNoise}; so large an ε promises nothing`,
      );
    }
    high = low;
    low = at(Math.max(leastNoise, low.noise / 1.3));
  }
  const tolerance = Math.min(0.005, wanted / 1000);
  for (let i = 0; i < 60 && wanted - high.epsilon > tolerance && high.noise / low.noise > 1 + 1e-9; i++) {
    const middle = at(between(low, high, wanted - tolerance / 2, i));
    if (middle.epsilon > wanted) low = middle;
    else high = middle;
  }
  return high;
}

/** By interpolation in logarithms; every third time by halving, so that the bracket shrinks whatever the curve. */
function between(low: Point, high: Point, aim: number, round: number): number {
  const [a, b] = [Math.log(low.noise), Math.log(high.noise)];
  if (round % 3 === 2 || high.epsilon <= 0) return Math.exp((a + b) / 2);
  const part = Math.log(low.epsilon / aim) / Math.log(low.epsilon / high.epsilon);
  return Math.exp(a + (b - a) * Math.min(0.95, Math.max(0.05, part)));
}
