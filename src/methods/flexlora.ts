import { z } from 'zod';
import type { LoraLayout } from '../lora/adapter.ts';
import { columnsOf, fromColumns, fromRows, rowsOf } from '../tensor/linalg.ts';
import { leadingSvdOfProduct } from '../tensor/subspace.ts';
import { combineFactors, perModule, ranksOption, type CombineRule } from './combine-factors.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedRounds, ownRounds } from './options.ts';
import { weighting } from './weights.ts';

/** FlexLoRA (Bai et al. 2024, arXiv 2402.11505): the server averages the products and sends their best approximation at each rank. */
export const flexlora = defineMethod({
  name: 'flexlora',
  summary: 'the server averages the clients’ products B·A and sends the truncated SVD of it, at each client’s rank',
  source:
    'arXiv 2402.11505 and its code: A = V_rᵀ, B = U_rΣ_r. `split: both` (√Σ on each factor) is this project’s; so is that clients of other ' +
    'ranks keep the scale. Where the mean’s rank is below r, A keeps its former rows beside B = 0, so that they can still learn.',
  capabilities: {
    ...averaging,
    mixedRanks: true,
    exact: 'to rank r',
    secureAggregation: false,
  },
  options: z.strictObject({
    rounds: ownRounds,
    weights: weighting.default('examples'),
    split: z
      .enum(['B', 'both'])
      .default('B')
      .describe('where the singular values go: all into B, or their roots into both factors'),
    ranks: ranksOption,
  }),
  stages: ({ split, ...options }, context) => [
    {
      ...combineFactors({
        ...federatedRounds(options, context),
        rule: truncatedMean(context.layout, split),
      }),
      // Every round's SVD is a new basis.
      guards: 'memoryless' as const,
    },
  ],
});

/** The best approximation of Σ p_k·B_k·A_k at the layout's ranks; scales are equal, so they stay outside. */
export const truncatedMean = (layout: LoraLayout, split: 'B' | 'both'): CombineRule =>
  perModule(layout, (parts, { rank, inFeatures, outFeatures }, before) => {
    const { u, sigma, v } = leadingSvdOfProduct(
      parts.flatMap(({ b, share }) => columnsOf(b, share)),
      parts.flatMap(({ a }) => rowsOf(a)),
      rank,
    );
    const former = rowsOf(before.a);
    const kept = Array.from({ length: rank }, (_, i) => ({ value: sigma[i] ?? 0, left: u[i], right: v[i], at: i }));
    const columns = kept.map(({ value, left }) => {
      const factor = split === 'B' ? value : Math.sqrt(value);
      return left === undefined ? new Float64Array(outFeatures) : left.map((x) => factor * x);
    });
    const rows = kept.map(({ value, right, at }) => {
      if (right === undefined || value === 0) return former[at]!;
      return split === 'B' ? right : right.map((x) => Math.sqrt(value) * x);
    });
    return { a: fromRows(rows, inFeatures), b: fromColumns(columns, outFeatures) };
  });
