import { describe, expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import { deltaOf } from '../../tests/support/delta.ts';
import { begin, contextOf, endingAt, exactKit, oneRound, pair, productOf } from '../../tests/support/rounds.ts';
import { distance, matrix, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB, type LoraLayout } from '../lora/adapter.ts';
import { stackAdapter } from '../lora/mix.ts';
import { rowsOf, columnsOf, svdOfProduct } from '../tensor/linalg.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { subtract } from '../tensor/tensors.ts';
import { piecesOf } from './combine-factors.ts';
import { fedexLora, residual, type Grown } from './fedex-lora.ts';
import { flora } from './flora.ts';
import { gained } from './increments.ts';
import type { Method } from './method.ts';
import type { Stage } from './stage.ts';

type Rows = readonly (readonly number[])[];
interface Reference {
  readonly ranks: readonly number[];
  readonly A: readonly Rows[];
  readonly B: readonly Rows[];
  readonly n_k: readonly number[];
  readonly scale_per_client: readonly number[];
  readonly exact_mean: { readonly product: Rows; readonly product_uniform_weights: Rows };
  readonly flora_stacking: { readonly product: Rows };
  readonly fedex: { readonly residual: Rows; readonly residual_rank: number };
}
const { equal_ranks: equal, mixed_ranks: mixed } = golden<{ equal_ranks: Reference; mixed_ranks: Reference }>(
  'aggregation.json',
);
const layout = toyLayout();
const locals = equal.A.map((a, k) => pair(a, equal.B[k]!));
const names = ['c0', 'c1', 'c2'];

async function after(
  method: Method,
  options: object,
  on: LoraLayout,
  clients: readonly Tensors[],
  examples: readonly number[],
) {
  const [stage] = method.stages(options, contextOf(on));
  const members = clients.map((factors, k) => ({
    kit: endingAt(factors, { client: `c${k}`, examples: examples[k]! }),
  }));
  const start = { layout: on, factors: zeroB(on, randomFactors(on, 8)) };
  const { shared } = await oneRound(
    stage!,
    begin(
      stage!,
      start,
      clients.map((_, k) => `c${k}`),
    ),
    members,
  );
  return { stage: stage!, shared: shared as Grown };
}

const zeroB = (on: LoraLayout, factors: Tensors): Tensors =>
  new Map([
    ...factors,
    ...on.modules.map(({ name }) => {
      const { shape, data } = factors.get(keyOfB(name))!;
      return [keyOfB(name), { shape, data: data.map(() => 0) }] as const;
    }),
  ]);

describe('FedEx-LoRA', () => {
  it('has the exact mean of the products, uniform as published or by examples (aggregation.json)', async () => {
    for (const [weights, product] of [
      ['examples', equal.exact_mean.product],
      ['uniform', equal.exact_mean.product_uniform_weights],
    ] as const) {
      const { stage, shared } = await after(fedexLora, { weights }, layout, locals, equal.n_k);
      expect(distance(productOf(stage, shared), matrix(product))).toBeLessThan(1e-5);
    }
  });

  it('adds the residual to the base, in (K − 1)·r factors (aggregation.json)', async () => {
    const { shared } = await after(fedexLora, { weights: 'examples' }, layout, locals, equal.n_k);
    const [{ adapter }] = gained(layout, shared.log) as [ReturnType<typeof gained>[number]];
    expect(adapter.layout.modules[0]!.rank).toBe(2 * 2);
    // The reference's residual is without the scale.
    const scaled = equal.fedex.residual.map((row) => row.map((x) => 2 * x));
    expect(distance(deltaOf(adapter, 'm0'), matrix(scaled))).toBeLessThan(1e-5);
    const { sigma } = svdOfProduct(
      columnsOf(adapter.factors.get(keyOfB('m0'))!),
      rowsOf(adapter.factors.get(keyOfA('m0'))!),
    );
    expect(sigma.filter((value) => value > 1e-6).length).toBe(equal.fedex.residual_rank);
  });

  it('has no residual where one client took part', () => {
    const one = { of: piecesOf(locals[0]!), share: 1 };
    expect(residual(layout, [one], locals[0]!).size).toBe(0);
  });
});

describe('FLoRA', () => {
  it('has the exact mean of the products, in any order of clients (aggregation.json)', async () => {
    const { stage, shared } = await after(flora, {}, layout, locals, equal.n_k);
    expect(distance(productOf(stage, shared), matrix(equal.flora_stacking.product))).toBeLessThan(1e-5);
    const turned = await after(flora, {}, layout, [...locals].reverse(), equal.n_k.toReversed());
    expect(distance(productOf(turned.stage, turned.shared), matrix(equal.flora_stacking.product))).toBeLessThan(1e-5);
  });

  it('has it with ranks per client (aggregation.json, mixed ranks)', async () => {
    const widest = toyLayout({ rank: 3, alpha: 3 });
    // The reference gives each client the scale alpha/r_k; with one scale for all, the rest goes into B.
    const own = mixed.A.map((a, k) =>
      pair(
        a,
        mixed.B[k]!.map((row) => row.map((x) => x * mixed.scale_per_client[k]!)),
      ),
    );
    const ranks = Object.fromEntries(mixed.ranks.map((rank, k) => [`c${k}`, rank]));
    const { stage, shared } = await after(flora, { ranks }, widest, own, mixed.n_k);
    expect(distance(productOf(stage, shared), matrix(mixed.exact_mean.product))).toBeLessThan(1e-5);
    const [a] = [...shared.log.values()];
    expect(a!.shape).toEqual([mixed.ranks.reduce((sum, rank) => sum + rank, 0), 5]);
  });

  it('counts an adapter that the run starts from once', async () => {
    const [stage] = flora.stages({}, contextOf(layout));
    const start = toyAdapter(layout, 3);
    const shared = begin(stage!, start, names);
    expect(distance(productOf(stage!, shared), deltaOf(start, 'm0'))).toBeLessThan(1e-6);
    // Clients that learn nothing leave the model where it was.
    const still = locals.map((_, k) => ({ kit: endingAt(new Map(), { client: names[k]! }) }));
    const result = await oneRound(stage!, shared, still);
    expect(distance(productOf(stage!, result.shared), deltaOf(start, 'm0'))).toBeLessThan(1e-6);
  });
});

// A1 = [1, 0], B1 = [1, 0]ᵀ, A2 = [0, 1], B2 = [0, 1]ᵀ, p = (¾, ¼).
describe('the toy of two orthogonal clients', () => {
  const toy = toyLayout({ rank: 1, inFeatures: 2, outFeatures: 2, alpha: 1 });
  const clients = [pair([[1, 0]], [[1], [0]]), pair([[0, 1]], [[0], [1]])];
  it.each([
    [fedexLora, { weights: 'examples' }],
    [flora, {}],
  ] as const)('$name reaches diag(.75, .25)', async (method, options) => {
    const { stage, shared } = await after(method, options, toy, clients, [3, 1]);
    expect(
      distance(
        productOf(stage, shared),
        matrix([
          [0.75, 0],
          [0, 0.25],
        ]),
      ),
    ).toBeLessThan(1e-6);
  });
  it('FedEx leaves .1875·[[1, −1], [−1, 1]] to the base', async () => {
    const { shared } = await after(fedexLora, { weights: 'examples' }, toy, clients, [3, 1]);
    const [{ adapter }] = gained(toy, shared.log) as [ReturnType<typeof gained>[number]];
    const expected = matrix([
      [0.1875, -0.1875],
      [-0.1875, 0.1875],
    ]);
    expect(distance(deltaOf(adapter, 'm0'), expected)).toBeLessThan(1e-6);
  });
});

it.each([fedexLora, flora])(
  '$name tells A from B where a module is as wide and as high as the rank, and no shape does',
  async (method) => {
    const square = toyLayout({ rank: 3, inFeatures: 3, outFeatures: 3, alpha: 6 });
    const ends = [1, 2, 3].map((seed) => randomFactors(square, seed));
    const { stage, shared } = await after(method, { weights: 'examples' }, square, ends, [1, 2, 3]);
    const mean = stackAdapter(
      ends.map((factors, k) => ({ adapter: { layout: square, factors }, weight: (k + 1) / 6 })),
    );
    expect(distance(productOf(stage, shared), deltaOf(mean, 'm0'))).toBeLessThan(1e-5);
  },
);

describe.each([
  ['fedex-lora', fedexLora],
  ['flora', flora],
] as const)('%s over rounds', (_, method) => {
  /** One full-batch step on ½‖W − goal‖² of the whole model, through the factors that the graph is fed. */
  const client = (name: string, seen: Tensors[]) =>
    exactKit(
      (fed) => {
        seen.push(fed);
        return subtract(
          fed,
          new Map(
            [...fed].map(([key, { shape, data }]) => [
              key,
              { shape, data: data.map((x, i) => x - Math.sin(i + name.length)) },
            ]),
          ),
        );
      },
      { client: name },
    );
  const productFed = (fed: Tensors) => {
    const rank = fed.get(keyOfA('m0'))!.shape[0]!;
    return deltaOf({ layout: toyLayout({ rank, alpha: 2 * rank }), factors: fed }, 'm0');
  };

  it('every client trains on the model that the server has, however long it was away', async () => {
    const [stage] = method.stages({}, contextOf(layout, { rounds: 3 })) as [Stage];
    let shared: State = begin(stage, { layout, factors: zeroB(layout, randomFactors(layout, 2)) }, names);
    for (const [round, sampled] of [
      ['c0', 'c1'],
      ['c0', 'c1'],
      ['c0', 'c2'],
    ].entries()) {
      const seen = sampled.map((): Tensors[] => []);
      const before = productOf(stage, shared);
      const result = await oneRound(
        stage,
        shared,
        sampled.map((name, k) => ({ kit: client(name, seen[k]!) })),
        round,
      );
      for (const fed of seen) expect(distance(productFed(fed[0]!), before)).toBeLessThan(1e-5);
      shared = result.shared;
      expect(distance(productOf(stage, shared), before)).toBeGreaterThan(1e-4);
      // What is frozen before a round stays what it was.
      const frozen = [stage.frozen!(shared, round), stage.frozen!(shared, round + 1)];
      for (const [name, tensor] of frozen[0]!) expect(frozen[1]!.get(name)).toBe(tensor);
    }
  });
});
