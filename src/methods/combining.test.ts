import { describe, expect, it } from 'vitest';
import { apart, combined, equal, factorsOf, frobenius, layout, mixed } from '../../tests/support/combined.ts';
import { deltaOf } from '../../tests/support/delta.ts';
import { pair, productOf } from '../../tests/support/rounds.ts';
import { distance, matrix, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB } from '../lora/adapter.ts';
import { stackAdapter } from '../lora/mix.ts';
import { factorsAtRank, layoutAtRank } from '../lora/ranks.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { sameBits, scale, tensor } from '../tensor/tensors.ts';
import { fedit } from './fedit.ts';
import { flexlora, truncatedMean } from './flexlora.ts';
import { floraNa } from './flora-na.ts';
import { hetlora } from './hetlora.ts';
import { piecesOf } from './combine-factors.ts';
import { correctedMean, loraFair } from './lora-fair.ts';
import type { Method } from './method.ts';

describe('FlexLoRA', () => {
  it('sends the best approximation of the exact mean (aggregation.json)', async () => {
    for (const split of ['B', 'both']) {
      const { stage, shared } = await combined(flexlora, { split }, layout, factorsOf(equal), equal.n_k);
      expect(distance(productOf(stage, shared), matrix(equal.flexlora.product_by_rank['2']!))).toBeLessThan(1e-5);
    }
  });

  it.each(['1', '2', '3', '4', '5'])(
    'misses the mean by the singular values that are left out: at rank %s (aggregation.json)',
    (rank) => {
      const on = toyLayout({ rank: Number(rank), alpha: 2 * Number(rank) });
      const ends = factorsOf(equal).map((factors, k) => ({ of: piecesOf(factors), share: equal.n_k[k]! / 100 }));
      const product = deltaOf({ layout: on, factors: truncatedMean(on, 'B')(ends, randomFactors(on, 1)) }, 'm0');
      expect(distance(product, matrix(equal.flexlora.product_by_rank[rank]!))).toBeLessThan(1e-5);
      const squared = equal.flexlora.squared_error_by_rank[rank]!;
      expect(apart(product, matrix(equal.exact_mean.product)) ** 2).toBeCloseTo(squared, 5);
      const left = equal.flexlora.singular_values.slice(Number(rank)).reduce((sum, sigma) => sum + sigma ** 2, 0);
      expect(squared).toBeCloseTo(left, 9);
    },
  );

  it('does so at every client’s own rank (aggregation.json, mixed ranks)', async () => {
    // The reference gives each client the scale alpha/r_k; with one scale for all, the rest goes into B.
    const widest = toyLayout({ rank: 3, alpha: 3 });
    const locals = factorsOf(mixed).map((factors, k) => {
      const b = scale(new Map([['b', factors.get(keyOfB('m0'))!]]), mixed.scale_per_client[k]!).get('b')!;
      return new Map([...factors, [keyOfB('m0'), b]]);
    });
    const ranks = Object.fromEntries(mixed.ranks.map((rank, k) => [`c${k}`, rank]));
    const { stage, shared } = await combined(flexlora, { ranks }, widest, locals, mixed.n_k);
    for (const [k, rank] of mixed.ranks.entries()) {
      const expected = matrix(mixed.flexlora.product_for_client[k]!);
      const received = stage.broadcast(shared, `c${k}`, 1);
      expect(received.get(keyOfA('m0'))!.shape).toEqual([rank, 5]);
      const model = { layout: layoutAtRank(widest, rank), factors: received };
      expect(distance(deltaOf(model, 'm0'), expected)).toBeLessThan(1e-5);
    }
  });

  it('keeps rows of A that the mean has no use for, so that they can still learn', async () => {
    const start = toyAdapter(layout, 6);
    const one = pair(
      equal.A[0]!,
      equal.B[0]!.map(([first]) => [first!, 0]),
    );
    const { factors } = await combined(flexlora, {}, layout, [one, one], [1, 1], start);
    const row = (of: Tensors): Float32Array => of.get(keyOfA('m0'))!.data.slice(5);
    expect(row(factors)).toEqual(row(start.factors));
  });

  it.each([{ ranks: { c9: 1 } }, { ranks: { c0: 3 } }])('refuses ranks that cannot be: %j', async (options) => {
    await expect(combined(flexlora, options, layout, factorsOf(equal), equal.n_k)).rejects.toThrow('`ranks`');
  });
});

describe('LoRA-FAIR', () => {
  it.each(['0.0', '0.01', '1.0'])('adds ΔB to B̄ (aggregation.json, λ = %s)', (lambda) => {
    const rule = correctedMean(layout, Number(lambda));
    const clients = factorsOf(equal).map((factors, k) => ({ of: piecesOf(factors), share: equal.n_k[k]! / 100 }));
    const result = rule(clients, factorsOf(equal)[0]!);
    const expected = equal.lora_fair_squared_l2[lambda]!;
    expect(distance(result.get(keyOfB('m0')), matrix(expected.B))).toBeLessThan(1e-5);
    expect(distance(result.get(keyOfA('m0')), matrix(equal.fedit.A))).toBeLessThan(1e-5);
    const product = deltaOf({ layout, factors: result }, 'm0');
    expect(distance(product, matrix(expected.product))).toBeLessThan(1e-5);
    expect(apart(product, matrix(equal.exact_mean.product))).toBeCloseTo(expected.distance_to_exact, 4);
  });

  it('is FedIT as λ grows', async () => {
    const far = await combined(loraFair, { lambda: 1e12 }, layout, factorsOf(equal), equal.n_k);
    const it = await combined(fedit, {}, layout, factorsOf(equal), equal.n_k);
    for (const [key, value] of far.factors) expect(distance(value, it.factors.get(key))).toBeLessThan(1e-6);
  });
});

const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, each, i) => sum + each * y[i]!, 0);

// A1 = [1, 0], B1 = [1, 0]ᵀ, A2 = [0, 1], B2 = [0, 1]ᵀ, p = (¾, ¼): the mean product is diag(.75, .25).
const toy = toyLayout({ rank: 1, inFeatures: 2, outFeatures: 2, alpha: 1 });
const toyClients = [pair([[1, 0]], [[1], [0]]), pair([[0, 1]], [[0], [1]])];
const diagonal = matrix([
  [0.75, 0],
  [0, 0.25],
]);

describe('the toy of two orthogonal clients', () => {
  it.each([
    [fedit, {}, 0.375],
    [flexlora, {}, 0.25],
    [loraFair, { lambda: 1e-9 }, 0.33541],
    [floraNa, {}, 0.25],
    [hetlora, { lambda: 0 }, 0.612372],
  ] as const)('$name ends at its distance from the mean product', async (method, options, expected) => {
    const { stage, shared } = await combined(method, options, toy, toyClients, [3, 1]);
    expect(apart(productOf(stage, shared), diagonal)).toBeCloseTo(expected, 5);
  });
});

describe('distances from the mean product, six clients', () => {
  it('SVD ≤ least squares ≤ FedIT', async () => {
    const on = toyLayout({ rank: 3, inFeatures: 9, outFeatures: 8 });
    const locals = [1, 2, 3, 4, 5, 6].map((seed) => randomFactors(on, seed));
    const examples = [1, 2, 3, 4, 5, 6];
    const exact = deltaOf(
      stackAdapter(locals.map((factors, k) => ({ adapter: { layout: on, factors }, weight: examples[k]! / 21 }))),
      'm0',
    );
    const error = async (method: Method): Promise<number> => {
      const { stage, shared } = await combined(method, {}, on, locals, examples);
      return apart(productOf(stage, shared), exact);
    };
    const [svd, squares, plain] = [await error(flexlora), await error(floraNa), await error(fedit)];
    expect(svd).toBeLessThan(squares);
    expect(squares).toBeLessThan(plain * 0.95);
  });

  it('FLoRA-NA takes, of all P·c and Q/c with the same product, those with ΣQ = 1', async () => {
    const ends = [3, 4].map((seed) => randomFactors(layout, seed));
    const { factors } = await combined(floraNa, {}, layout, ends, [1, 3]);
    const [a, x, y] = [factors, ...ends].map((of) => of.get(keyOfA('m0'))!.data);
    // Q from Σ Q_u·A_u, by its two normal equations.
    const [xx, xy, yy, ax, ay] = [dot(x!, x!), dot(x!, y!), dot(y!, y!), dot(a!, x!), dot(a!, y!)];
    const [first, second] = [(ax * yy - ay * xy) / (xx * yy - xy ** 2), (ay * xx - ax * xy) / (xx * yy - xy ** 2)];
    expect(first + second).toBeCloseTo(1, 5);
    expect(Math.abs(first - 1 / 4)).toBeGreaterThan(0.01);
  });

  it('FLoRA-NA bears clients that are equal, and clients that have not moved', async () => {
    const one = randomFactors(layout, 2);
    const same = await combined(floraNa, {}, layout, [one, one, one], [1, 2, 3]);
    expect(distance(productOf(same.stage, same.shared), deltaOf({ layout, factors: one }, 'm0'))).toBeLessThan(1e-5);
    const still = scale(one, 0);
    const zero = await combined(floraNa, {}, layout, [still, still], [1, 1]);
    expect(frobenius(productOf(zero.stage, zero.shared))).toBe(0);
  });
});

describe('gauge', () => {
  it('FlexLoRA does not see how clients split their product; averages of factors do', async () => {
    // (B·Q, Q⁻¹·A) with Q = diag(2, ½) for the first client only.
    const turned = factorsOf(equal).map((factors, k) => {
      if (k > 0) return factors;
      const a = factors.get(keyOfA('m0'))!;
      const b = factors.get(keyOfB('m0'))!;
      return new Map([
        [
          keyOfA('m0'),
          tensor(
            a.shape,
            a.data.map((x, i) => (i < 5 ? x / 2 : x * 2)),
          ),
        ],
        [
          keyOfB('m0'),
          tensor(
            b.shape,
            b.data.map((x, i) => (i % 2 === 0 ? x * 2 : x / 2)),
          ),
        ],
      ]);
    });
    const change = async (method: Method): Promise<number> => {
      const [before, after] = [
        await combined(method, {}, layout, factorsOf(equal), equal.n_k),
        await combined(method, {}, layout, turned, equal.n_k),
      ];
      return apart(productOf(before.stage, before.shared), productOf(after.stage, after.shared));
    };
    expect(await change(flexlora)).toBeLessThan(1e-5);
    for (const method of [fedit, loraFair, floraNa]) expect(await change(method)).toBeGreaterThan(1e-2);
  });
});

it('truncating undoes padding, to the bit', () => {
  const small = layoutAtRank(layout, 1);
  const factors = randomFactors(small, 1);
  expect(sameBits(factorsAtRank(small, factorsAtRank(layout, factors)), factors)).toBe(true);
});
