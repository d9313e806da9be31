import { logNormalCdf, normalCdf } from './normal.ts';
import { requireDelta, requireSpending } from './spending.ts';

/**
 * The exact δ of `steps` Gaussian mechanisms on everybody's data (rate 1), for an ε ≥ 0:
 * δ = Φ(μ/2 − ε/μ) − e^ε·Φ(−μ/2 − ε/μ) with μ = √steps / noise.
 * Balle and Wang, Improving the Gaussian mechanism, ICML 2018, theorem 8.
 */
export function gaussianDelta(noise: number, steps: number, epsilon: number): number {
  const mu = Math.sqrt(steps) / noise;
  const second = Math.exp(epsilon + logNormalCdf(-mu / 2 - epsilon / mu));
  return Math.max(0, normalCdf(mu / 2 - epsilon / mu) - second);
}

/** The exact ε at rate 1, rounded up in its last digits. It is what both accountants are checked against. */
export function gaussianEpsilon(noise: number, steps: number, delta: number): number {
  requireSpending({ noise, rate: 1, steps });
  requireDelta(delta);
  if (gaussianDelta(noise, steps, 0) <= delta) return 0;
  let low = 0;
  let high = 1;
  while (gaussianDelta(noise, steps, high) > delta) [low, high] = [high, high * 2];
  while (high - low > 1e-13 * high) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (gaussianDelta(noise, steps, middle) > delta) low = middle;
    else high = middle;
  }
  return high;
}
