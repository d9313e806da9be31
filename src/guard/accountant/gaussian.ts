import { logNormalCdf, normalCdf } from './normal.ts';

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
