import { z } from 'zod';
import type { LoraLayout } from '../lora/adapter.ts';
import { products, times } from '../tensor/blocked.ts';
import { columnsOf, fromColumns, rowsOf, solveRows, transposed } from '../tensor/linalg.ts';
import { combineFactors, perModule, meanPiece, type CombineRule } from './combine-factors.ts';
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
    const mean = meanPiece(parts);
    const [meanA, meanB] = [rowsOf(mean.a), columnsOf(mean.b)];
    const [rows, columns] = [parts.flatMap(({ a }) => rowsOf(a)), parts.flatMap(({ b }) => columnsOf(b))];
    const shares = parts.flatMap(({ a, share }) => Array.from({ length: a.shape[0]! }, () => share));
    // Columns of (M − B̄Ā)Āᵀ: Σ p_k·B_k·(A_k·ā_j) − B̄·(Ā·ā_j).
    const weights = products(rows, meanA).map((column) => column.map((x, i) => shares[i]! * x));
    const ofMeanA = products(meanA, meanA);
    const taken = times(meanB, ofMeanA, outFeatures);
    const wanted = times(columns, weights, outFeatures).map((column, j) => column.map((x, i) => x - taken[j]![i]!));
    const gram = ofMeanA.map((column, j) => column.map((x, i) => x + (i === j ? lambda : 0)));
    const delta = transposed(solveRows(transposed(wanted, outFeatures), gram), meanA.length);
    const corrected = meanB.map((column, j) => column.map((x, i) => x + delta[j]![i]!));
    return { a: mean.a, b: fromColumns(corrected, outFeatures) };
  });
