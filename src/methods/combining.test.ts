import { describe, expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import {
  begin,
  contextOf,
  endingAt,
  oneRound,
  pair,
  plainTraining,
  productOf,
  exactKit,
} from '../../tests/support/rounds.ts';
import { distance, matrix, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB, type LoraLayout } from '../lora/adapter.ts';
import { deltaOf } from '../lora/merge.ts';
import { stackAdapter } from '../lora/mix.ts';
import { factorsAtRank, layoutAtRank } from '../lora/ranks.ts';
import type { State } from '../tensor/state.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { norm, sameBits, scale, subtract, tensor } from '../tensor/tensors.ts';
import { fedit } from './fedit.ts';
import { flexlora } from './flexlora.ts';
import { floraNa } from './flora-na.ts';
import { addTailPenalty, hetlora, productNorm } from './hetlora.ts';
import { correctedMean, loraFair } from './lora-fair.ts';
import type { Method } from './method.ts';

type Rows = readonly (readonly number[])[];
interface Reference {
  readonly ranks: readonly number[];
  readonly A: readonly Rows[];
  readonly B: readonly Rows[];
  readonly n_k: readonly number[];
  readonly alpha: number;
  readonly scale_per_client: readonly number[];
  readonly exact_mean: { readonly product: Rows };
  readonly flexlora: {
    readonly product_by_rank: Record<string, Rows>;
    readonly product_for_client: Record<string, Rows>;
  };
  readonly hetlora_zero_pad: {
    readonly norm_weighted: {
      readonly A: Rows;
      readonly B: Rows;
      readonly client_A: readonly Rows[];
      readonly client_B: readonly Rows[];
    };
  };
  readonly lora_fair_squared_l2: Record<
    string,
    { readonly B: Rows; readonly product: Rows; readonly distance_to_exact: number }
  >;
}
const { equal_ranks: equal, mixed_ranks: mixed } = golden<{
  equal_ranks: Reference & { fedit: { A: Rows } };
  mixed_ranks: Reference;
}>('aggregation.json');
const layout = toyLayout();
const factorsOf = ({ A, B }: Reference): Tensors[] => A.map((a, k) => pair(a, B[k]!));
const frobenius = (x: Tensor): number => norm(new Map([['x', x]]));
const apart = (x: Tensor, y: Tensor): number => frobenius(subtract(new Map([['x', x]]), new Map([['x', y]])).get('x')!);

/** One round in which clients of these factors and examples take part, from a start of its own. */
async function combined(
  method: Method,
  options: object,
  on: LoraLayout,
  locals: readonly Tensors[],
  examples: readonly number[],
  start = toyAdapter(on, 5),
) {
  const [stage] = method.stages(options, contextOf(on));
  const names = locals.map((_, k) => `c${k}`);
  const members = locals.map((factors, k) => ({
    kit: endingAt(factors, { client: names[k]!, examples: examples[k]! }),
  }));
  const { shared, mine } = await oneRound(stage!, begin(stage!, start, names), members);
  return { stage: stage!, shared, mine, factors: stage!.models(shared)[0]!.adapter.factors };
}

describe('FlexLoRA', () => {
  it('sends the best approximation of the exact mean (aggregation.json)', async () => {
    for (const split of ['B', 'both']) {
      const { stage, shared } = await combined(flexlora, { split }, layout, factorsOf(equal), equal.n_k);
      expect(distance(productOf(stage, shared), matrix(equal.flexlora.product_by_rank['2']!))).toBeLessThan(1e-5);
    }
  });

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

describe('HetLoRA', () => {
  const off = { gamma: 1, lambda: 0 };
  it('averages by ‖B·A‖ (aggregation.json)', async () => {
    const { factors } = await combined(hetlora, off, layout, factorsOf(equal), equal.n_k);
    const { A, B } = equal.hetlora_zero_pad.norm_weighted;
    expect(distance(factors.get(keyOfA('m0')), matrix(A))).toBeLessThan(1e-5);
    expect(distance(factors.get(keyOfB('m0')), matrix(B))).toBeLessThan(1e-5);
  });

  it('pads and truncates mixed ranks (aggregation.json)', async () => {
    const ranks = Object.fromEntries(mixed.ranks.map((rank, k) => [`c${k}`, rank]));
    const widest = toyLayout({ rank: 3 });
    const { stage, shared, mine } = await combined(hetlora, { ...off, ranks }, widest, factorsOf(mixed), mixed.n_k);
    const { client_A, client_B } = mixed.hetlora_zero_pad.norm_weighted;
    for (const k of mixed.ranks.keys()) {
      for (const received of [
        stage.broadcast(shared, `c${k}`, 1),
        stage.models(shared, mine.get(`c${k}`))[0]!.adapter.factors,
      ]) {
        expect(distance(received.get(keyOfA('m0')), matrix(client_A[k]!))).toBeLessThan(1e-5);
        expect(distance(received.get(keyOfB('m0')), matrix(client_B[k]!))).toBeLessThan(1e-5);
      }
    }
  });

  it('is uniform FedIT for equal ranks and norms', async () => {
    const locals = factorsOf(equal).map((factors) => {
      const b = scale(new Map([['b', factors.get(keyOfB('m0'))!]]), 1 / productNorm(layout, factors)).get('b')!;
      return new Map([...factors, [keyOfB('m0'), b]]);
    });
    const { factors } = await combined(hetlora, off, layout, locals, [1, 1, 1]);
    const uniform = await combined(fedit, { weights: 'uniform' }, layout, locals, [1, 1, 1]);
    for (const [key, value] of factors) expect(distance(value, uniform.factors.get(key))).toBeLessThan(1e-6);
  });

  it('finds the norm of the product from the factors', () => {
    const adapter = toyAdapter(layout, 3);
    expect(productNorm(layout, adapter.factors)).toBeCloseTo(frobenius(deltaOf(adapter, 'm0')), 4);
  });

  it('has a tail penalty with a gradient: finite differences of λ‖tail A‖·‖tail B‖', () => {
    const params = randomFactors(layout, 4);
    const zero = scale(params, 0);
    const gradients = addTailPenalty(layout, 1, 0.5)(zero, params);
    const value = (at: Tensors): number => {
      const a = at.get(keyOfA('m0'))!.data.slice(5);
      const b = at.get(keyOfB('m0'))!.data.filter((_, i) => i % 2 === 1);
      return 0.5 * Math.hypot(...a) * Math.hypot(...b);
    };
    for (const [key, { shape, data }] of params) {
      for (const i of data.keys()) {
        const moved = (by: number): Tensors =>
          new Map([
            ...params,
            [
              key,
              tensor(
                shape,
                data.map((x, j) => (i === j ? x + by : x)),
              ),
            ],
          ]);
        const slope = (value(moved(1e-2)) - value(moved(-1e-2))) / 2e-2;
        expect(gradients.get(key)!.data[i]).toBeCloseTo(slope, 3);
      }
    }
  });

  it('drops a tail that has shrunk, and keeps it dropped', async () => {
    const [stage] = hetlora.stages(
      { gamma: 0.5, lambda: 0 },
      contextOf(layout, { train: { ...plainTraining, rate: 0.1, length: { steps: 30 } } }),
    );
    const start = toyAdapter(layout, 5);
    // The client's loss pulls everything to 0.
    const kit = exactKit((factors) => factors, { client: 'c0' });
    let shared: State = begin(stage!, start, ['c0']);
    let mine: State | undefined;
    for (let round = 0; round < 2; round++) {
      const result = await oneRound(stage!, shared, [{ kit, ...(mine !== undefined && { mine }) }], round);
      shared = result.shared;
      mine = result.mine.get('c0');
      expect(mine).toEqual({ client: 'c0', kept: 1 });
      const { data } = stage!.models(shared)[0]!.adapter.factors.get(keyOfA('m0'))!;
      expect(Math.max(...data.slice(5).map(Math.abs))).toBeLessThan(1e-7);
    }
  });
});

describe('LoRA-FAIR', () => {
  it.each(['0.0', '0.01', '1.0'])('adds ΔB to B̄ (aggregation.json, λ = %s)', (lambda) => {
    const rule = correctedMean(layout, Number(lambda));
    const clients = factorsOf(equal).map((factors, k) => ({ factors, share: equal.n_k[k]! / 100 }));
    const result = rule(clients, clients[0]!.factors);
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
