import { z } from 'zod';
import type { LoraLayout } from '../lora/adapter.ts';
import { columnsOf, inner, rowsOf, solveRows } from '../tensor/linalg.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { weightedSum } from '../tensor/weighted.ts';
import { combineFactors, perModule, type CombineRule, type ModulePart } from './combine-factors.ts';
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
export const nearlyAccurate = (layout: LoraLayout, iterations: number): CombineRule =>
  perModule(layout, (parts) => {
    const shares = parts.map(({ share }) => share);
    const ofB = grams(parts.map(({ b }) => columnsOf(b)));
    const ofA = grams(parts.map(({ a }) => rowsOf(a)));
    let [p, q] = [shares, shares];
    for (let i = 0; i < iterations; i++) {
      p = bestWeights(ofB, ofA, p, q, shares);
      q = bestWeights(ofA, ofB, q, p, shares);
      const total = q.reduce((sum, x) => sum + x, 0);
      // The product does not see c·P and Q/c.
      if (Math.abs(total) > 1e-6) [p, q] = [p.map((x) => x * total), q.map((x) => x / total)];
    }
    return { a: weighted(parts, 'a', q), b: weighted(parts, 'b', p) };
  });

const weighted = (parts: readonly ModulePart[], of: 'a' | 'b', weights: readonly number[]): Tensor =>
  weightedSum(parts.map((part, k) => ({ tensors: new Map([['x', part[of]]]), weight: weights[k]! }))).get('x')!;

/** All r × r products of two clients' factors: grams[u][v] = X_u·X_vᵀ, flattened. */
type Grams = readonly (readonly Float64Array[])[];
function grams(factors: readonly (readonly Float64Array[])[]): Grams {
  const all = factors.map((): Float64Array[] => []);
  for (const [u, x] of factors.entries()) {
    for (let v = 0; v <= u; v++) {
      const y = factors[v]!;
      const product = Float64Array.from(x.flatMap((row) => y.map((other) => inner(row, other))));
      all[u]![v] = product;
      // X_v·X_uᵀ is its transpose.
      if (v < u) all[v]![u] = product.map((_, i) => product[(i % x.length) * y.length + Math.floor(i / x.length)]!);
    }
  }
  return all;
}

/**
 * The weights w of one factor, least squares for the other's weights `other`: the Gram matrix of the products is
 * G_uv = ⟨own_uv, Σ other_s·other_t·others_st⟩, the right side ⟨own_uk, Σ other_s·others_sk⟩·p_k summed over k. A little of
 * the former weights is held on to, so that equal clients leave it solvable; each step still brings the product no farther.
 */
function bestWeights(
  own: Grams,
  others: Grams,
  before: readonly number[],
  other: readonly number[],
  shares: readonly number[],
): number[] {
  const mixed = (k: number): Float64Array =>
    sum(
      others.map((row) => row[k]!),
      other,
    );
  const withEach = others.map((_, k) => mixed(k));
  const whole = sum(withEach, other);
  const gram = own.map((row) => Float64Array.from(row, (each) => inner(each, whole)));
  const hold = 1e-9 * (gram.reduce((trace, row, u) => trace + row[u]!, 0) / gram.length) + Number.MIN_VALUE * 2 ** 60;
  const right = own.map((row, u) =>
    row.reduce((total, each, k) => total + shares[k]! * inner(each, withEach[k]!), hold * before[u]!),
  );
  const held = gram.map((row, u) => row.map((x, v) => (u === v ? x + hold : x)));
  return [...solveRows([Float64Array.from(right)], held)[0]!];
}

const sum = (parts: readonly Float64Array[], weights: readonly number[]): Float64Array =>
  parts[0]!.map((_, i) => parts.reduce((total, part, k) => total + weights[k]! * part[i]!, 0));
