import { defaultOrders, rdpEpsilon, rdpOfHistory, rdpOfStep } from './rdp.ts';
import type { Spending } from './spending.ts';

/** Where losses are put: at multiples of `mesh` from −size/2 to size/2 − 1, and by how much the answer may be wrong for it. */
export interface Grid {
  /** A power of two. */
  readonly size: number;
  readonly mesh: number;
  /** Rounding to the grid moves the total loss by more than `epsilonError` with a chance below `deltaError` (all causes together). */
  readonly epsilonError: number;
  readonly deltaError: number;
  /** What float64 arithmetic may add to or take from δ. */
  readonly floatError: number;
  /** Room left at the ends for the shift that keeps the mean. */
  readonly margin: number;
}

const mostPoints = 2 ** 21;

/**
 * A grid for a history. Each round's rounding error has mean 0 and a range of one mesh, so by Hoeffding's inequality their
 * sum over n rounds exceeds e with a chance of at most 2·exp(−2e²/(n·mesh²)); the ends hold all but a small chance of one
 * round's loss and of the total, by Chernoff's bound P(Y > L) ≤ exp((α − 1)(D_α − L)), which is the looser of the two tails.
 */
export function gridFor(history: readonly Spending[], delta: number, precision?: number): Grid {
  const deltaError = delta / 1000;
  const share = Math.log(12 / deltaError);
  const rounds = history.reduce((sum, { steps }) => sum + steps, 0);
  const wanted = precision ?? Math.min(0.005, Math.max(1e-4, rdpEpsilon(history, delta).epsilon / 200));
  const spread = Math.sqrt((rounds / 2) * share);
  const tail = (divergence: readonly number[], chance: number): number =>
    divergence.reduce((least, d, i) => Math.min(least, d + chance / (defaultOrders[i]! - 1)), Infinity);
  const oneRound = history.map(({ noise, rate }) =>
    tail(
      defaultOrders.map((order) => rdpOfStep(order, noise, rate)),
      share + Math.log(rounds),
    ),
  );
  const reach = Math.max(tail(rdpOfHistory(history), share), ...oneRound);
  const margin = reach / 4;
  const half = reach + margin + wanted;
  const size = Math.min(mostPoints, 2 ** Math.max(10, Math.ceil(Math.log2((2 * half * spread) / wanted))));
  const mesh = (2 * half) / size;
  // What rounding does to a transform's entry, its power of `rounds` multiplies: at rate 1 δ is off by 1e-16 to 2e-16 a round.
  const floatError = (size + 8 * rounds) * 2 ** -52;
  return { size, mesh, epsilonError: mesh * spread, deltaError, floatError, margin };
}
