import { z } from 'zod';
import type { LoraLayout } from '../lora/adapter.ts';
import { columnsOf, inner, rowsOf, solveRows } from '../tensor/linalg.ts';
import { gram } from '../tensor/pairwise.ts';
import { combineFactors, perModule, weightedPieces, type CombineRule } from './combine-factors.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedRounds, ownRounds } from './options.ts';
import { weighting } from './weights.ts';

/** FLoRA-NA: the server looks for the weights of the A's and of the B's with which the product of sums is nearest to the mean product. */
export const floraNa = defineMethod({
  name: 'flora-na',
  summary:
    'federated averaging with weights of the A’s and B’s that bring B·A nearest to the mean of the clients’ products',
  source:
    'FLoRA-NA (“nearly accurate”), known here second-hand; its solver is not published. This one is alternating least squares over the K weights ' +
    'of each factor, from those of fedit, with ΣQ = 1: never farther from the mean product than fedit.',
  capabilities: { ...averaging, exact: 'nearer', secureAggregation: false },
  options: z.strictObject({
    rounds: ownRounds,
    weights: weighting.default('examples'),
    iterations: z.int().positive().default(50).describe('alternations of the least squares'),
  }),
  stages: ({ iterations, ...options }, context) => [
    combineFactors({ ...federatedRounds(options, context), rule: nearlyAccurate(context.layout, iterations) }),
  ],
});

/** Σ P_u·B_u and Σ Q_u·A_u with P and Q that (locally) minimise ‖(ΣP_uB_u)(ΣQ_uA_u) − Σ p_k·B_k·A_k‖, module by module. */
const nearlyAccurate = (layout: LoraLayout, iterations: number): CombineRule =>
  perModule(layout, (parts) => {
    const shares = parts.map(({ share }) => share);
    const ofB = gram(parts.flatMap(({ b }) => columnsOf(b)));
    const ofA = gram(parts.flatMap(({ a }) => rowsOf(a)));
    let [p, q] = [shares, shares];
    for (let i = 0; i < iterations; i++) {
      p = bestWeights(ofB, ofA, p, q, shares);
      q = bestWeights(ofA, ofB, q, p, shares);
      const total = q.reduce((sum, x) => sum + x, 0);
      // The product does not see c·P and Q/c.
      if (Math.abs(total) > 1e-6) [p, q] = [p.map((x) => x * total), q.map((x) => x / total)];
    }
    return weightedPieces(parts, q, p);
  });

/**
 * The weights w of one factor, least squares for the other's weights `other`: the Gram matrix of the products is
 * G_uv = ⟨own_uv, Σ other_s·other_t·others_st⟩, the right side ⟨own_uk, Σ other_s·others_sk⟩·p_k summed over k. `own` and `others`
 * are the inner products of all clients' vectors, K·r in number, and own_uv the r × r block of clients u and v. A little of the
 * former weights is held on to, so that equal clients leave it solvable; each step still brings the product no farther.
 */
function bestWeights(
  own: Float64Array,
  others: Float64Array,
  before: readonly number[],
  other: readonly number[],
  shares: readonly number[],
): number[] {
  const rank = Math.sqrt(own.length) / shares.length;
  const withEach = blockSums(others, other);
  const whole = blockSum(withEach, rank, other);
  const gram = shares.map((_, u) => Float64Array.from(shares, (_, v) => (v <= u ? block(own, rank, u, v, whole) : 0)));
  for (const [u, row] of gram.entries()) for (let v = 0; v < u; v++) gram[v]![u] = row[v]!;
  const hold = 1e-9 * (gram.reduce((trace, row, u) => trace + row[u]!, 0) / gram.length) + Number.MIN_VALUE * 2 ** 60;
  const aim = weightBlocks(withEach, rank, shares);
  const right = before.map(
    (weight, u) => hold * weight + inner(own.subarray(u * aim.length, (u + 1) * aim.length), aim),
  );
  const held = gram.map((row, u) => row.map((x, v) => (u === v ? x + hold : x)));
  return [...solveRows([Float64Array.from(right)], held)[0]!];
}

/** Σ_s weights[s]·X_sk for every k, beside each other: r rows of K·r numbers. */
function blockSums(all: Float64Array, weights: readonly number[]): Float64Array {
  const out = new Float64Array(all.length / weights.length);
  for (const [s, weight] of weights.entries()) {
    for (let i = 0, at = s * out.length; i < out.length; i++, at++) out[i] = out[i]! + weight * all[at]!;
  }
  return out;
}

/** Σ_k weights[k]·X_k of r × r blocks X_k beside each other. */
function blockSum(row: Float64Array, rank: number, weights: readonly number[]): Float64Array {
  const out = new Float64Array(rank * rank);
  for (let i = 0; i < out.length; i++) {
    const first = Math.floor(i / rank) * rank * weights.length + (i % rank);
    for (const [k, weight] of weights.entries()) out[i] = out[i]! + weight * row[first + k * rank]!;
  }
  return out;
}

/** The blocks X_k times weights[k]. */
const weightBlocks = (row: Float64Array, rank: number, weights: readonly number[]): Float64Array =>
  row.map((x, i) => weights[Math.floor(i / rank) % weights.length]! * x);

/** ⟨X_uv, Y⟩ of an r × r block and as many numbers. */
function block(all: Float64Array, rank: number, u: number, v: number, y: Float64Array): number {
  const width = Math.sqrt(all.length);
  let sum = 0;
  for (let i = 0, k = 0; i < rank; i++) {
    for (let j = 0, at = (u * rank + i) * width + v * rank; j < rank; j++, at++, k++) sum += all[at]! * y[k]!;
  }
  return sum;
}
