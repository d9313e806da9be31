import { normalCdf } from './normal.ts';

/**
 * The privacy loss of one round, in both directions of adding or removing one client: with
 * P = (1 − q)·N(0, z²) + q·N(1, z²), Q = N(0, z²) and the log ratio l(x) = ln P/Q(x) = ln(1 − q + q·e^{(2x − 1)/2z²}),
 * `remove` is l(x) for x from P and `add` is −l(x) for x from Q.
 */
export type Direction = 'remove' | 'add';

/** The x at which the log ratio is t; −∞ where it never gets so low. */
function pointOf(t: number, noise: number, rate: number): number {
  const excess = Math.expm1(t) / rate;
  if (excess <= -1) return -Infinity;
  // For large t, e^t would overflow.
  const log = t > 300 ? t - Math.log(rate) : Math.log1p(excess);
  return noise * noise * log + 0.5;
}

/** The chance that the loss is at most t. */
export function lossCdf(direction: Direction, t: number, noise: number, rate: number): number {
  if (direction === 'add') return normalCdf(-pointOf(-t, noise, rate) / noise);
  const x = pointOf(t, noise, rate);
  return (1 - rate) * normalCdf(x / noise) + rate * normalCdf((x - 1) / noise);
}

/** The expected loss: the two Kullback-Leibler divergences, by the trapezoidal rule, exponentially exact here. */
export function expectedLoss(direction: Direction, noise: number, rate: number): number {
  const variance = noise * noise;
  if (rate === 1) return 1 / (2 * variance);
  const step = Math.min(noise / 20, variance / 2);
  const from = -13 * noise;
  const count = Math.ceil((1 + 26 * noise) / step);
  let sum = 0;
  for (let k = 0; k <= count; k++) {
    const x = from + k * step;
    const u = (2 * x - 1) / (2 * variance);
    const density = Math.exp((-x * x) / (2 * variance));
    // Log ratio: in the form that keeps its digits near 0, and in the one that does not overflow.
    const ratio =
      u < 30 ? Math.log1p(rate * Math.expm1(u)) : u + Math.log(rate) + Math.log1p(((1 - rate) / rate) * Math.exp(-u));
    const shifted = Math.exp((-(x - 1) * (x - 1)) / (2 * variance));
    sum += direction === 'add' ? -density * ratio : ((1 - rate) * density + rate * shifted) * ratio;
  }
  return (sum * step) / (noise * Math.sqrt(2 * Math.PI));
}
