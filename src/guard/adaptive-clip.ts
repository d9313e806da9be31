import { requireBound } from './clip.ts';

/** Andrew, Thakkar, McMahan and Ramaswamy, Differentially private learning with adaptive clipping, NeurIPS 2021. */
export interface AdaptiveClip {
  /** γ: the share of updates that the bound should leave unclipped, 0 … 1. */
  readonly quantile: number;
  /** How fast the bound follows, above 0. */
  readonly rate: number;
}

/**
 * C·exp(−rate·(b − γ)), where b is the share of updates that were *not* clipped: more than wanted unclipped means that the bound
 * is too wide, and it shrinks. Counting the clipped ones instead turns the fixed point into a repelling one.
 */
export function nextBound(bound: number, unclippedShare: number, { quantile, rate }: AdaptiveClip): number {
  requireBound(bound);
  if (!(quantile >= 0 && quantile <= 1)) throw new Error(`a quantile must be from 0 to 1, not ${quantile}`);
  if (!(rate > 0 && rate < Infinity)) throw new Error(`the rate of adaptive clipping must be above 0, not ${rate}`);
  if (!Number.isFinite(unclippedShare)) throw new Error(`a share of unclipped updates cannot be ${unclippedShare}`);
  return bound * Math.exp(-rate * (unclippedShare - quantile));
}

/**
 * The share of unclipped updates, ½ + Σ(b_k − ½)/expected, from the sum over clients with the bits b_k (with noise, where there
 * is privacy: a client moves the sum by ½, not 1, which is why this noise counts double below). `expected` is the number of
 * clients, or where there is noise the one that is fixed beforehand.
 */
export function unclippedShare(sum: number, expected: number): number {
  if (!(expected > 0)) throw new Error(`the expected number of clients must be above 0, not ${expected}`);
  return 0.5 + sum / expected;
}

/** The paper's standard deviation of the noise on the count: a twentieth of the expected clients. */
export const defaultCountNoise = (expected: number): number => expected / 20;

/**
 * The multiplier for the updates, z_Δ = (z⁻² − (2σ_b)⁻²)^(−½), which together with the noised count (σ_b) costs what a multiplier
 * of z on the updates alone would. Throws where the count's noise alone is too little for z.
 */
export function updateNoise(noise: number, countNoise: number): number {
  const rest = noise ** -2 - (2 * countNoise) ** -2;
  if (!(rest > 0)) {
    throw new Error(
      `noise ${countNoise} on the count of unclipped updates is too little for a noise multiplier of ${noise}: it must be above ${noise / 2}`,
    );
  }
  return rest ** -0.5;
}
