import { z } from 'zod';
import type { LoraLayout } from '../lora/adapter.ts';
import { columnsOf, combination, fromColumns, inner, rowsOf, solveRows, transposed } from '../tensor/linalg.ts';
import { weightedSum } from '../tensor/weighted.ts';
import { combineFactors, perModule, type CombineRule } from './combine-factors.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedRounds, ownRounds } from './options.ts';
import { weighting } from './weights.ts';

/** LoRA-FAIR (Bian et al. 2024, arXiv 2411.14961): FedIT whose server corrects B̄ towards the exact mean of the products. */
export const loraFair = defineMethod({
  name: 'lora-fair',
  summary:
    'federated averaging; the server then corrects B so that B·A comes nearer to the mean of the clients’ products',
  source:
    'arXiv 2411.14961, known here second-hand. The paper asks for similarity without fixing it and uses SGD; this is the squared L2 ' +
    'variant in closed form: ΔB = (M − B̄Ā)Āᵀ(ĀĀᵀ + λI)⁻¹. λ = 0.01 is the paper’s.',
  capabilities: { ...averaging, exact: 'nearer', secureAggregation: false },
  options: z.strictObject({
    rounds: ownRounds,
    weights: weighting.default('examples'),
    lambda: z.number().positive().default(0.01).describe('weight λ of ‖ΔB‖²; the larger, the nearer to fedit'),
  }),
  stages: ({ lambda, ...options }, context) => [
    combineFactors({ ...federatedRounds(options, context), rule: correctedMean(context.layout, lambda) }),
  ],
});

/** Ā, and B̄ + ΔB with the ΔB that minimises ‖M − (B̄ + ΔB)Ā‖² + λ‖ΔB‖², by products no larger than out × rank. */
export const correctedMean = (layout: LoraLayout, lambda: number): CombineRule =>
  perModule(layout, (parts, { outFeatures }) => {
    const mean = weightedSum(
      parts.map(({ a, b, share }) => ({
        tensors: new Map([
          ['a', a],
          ['b', b],
        ]),
        weight: share,
      })),
    );
    const meanA = rowsOf(mean.get('a')!);
    const meanB = columnsOf(mean.get('b')!);
    // Columns of (M − B̄Ā)Āᵀ: Σ p_k·B_k·(A_k·ā_j) − B̄·(Ā·ā_j).
    const wanted = meanA.map((row) => {
      const against = (a: readonly Float64Array[]): number[] => a.map((each) => inner(each, row));
      const column = combination(meanB, against(meanA)).map((x) => -x);
      for (const { a, b, share } of parts) {
        const part = combination(columnsOf(b), against(rowsOf(a)));
        for (let i = 0; i < column.length; i++) column[i] = column[i]! + share * part[i]!;
      }
      return column;
    });
    const gram = meanA.map((x, i) => Float64Array.from(meanA, (y, j) => inner(x, y) + (i === j ? lambda : 0)));
    const delta = transposed(solveRows(transposed(wanted, outFeatures), gram), meanA.length);
    const corrected = meanB.map((column, j) => column.map((x, i) => x + delta[j]![i]!));
    return { a: mean.get('a')!, b: fromColumns(corrected, outFeatures) };
  });
