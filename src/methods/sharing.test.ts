import { describe, expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import {
  begin,
  contextOf,
  endingAt,
  exactKit,
  oneRound,
  pair,
  plainTraining,
  productOf,
} from '../../tests/support/rounds.ts';
import { distance, matrix, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB } from '../lora/adapter.ts';
import type { State } from '../tensor/state.ts';
import { sameBits, subtract } from '../tensor/tensors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { fedit } from './fedit.ts';
import { ffaLora } from './ffa-lora.ts';
import { localOnly } from './local-only.ts';
import { rolora } from './rolora.ts';
import { fedAlora } from './fed-alora.ts';
import { fedper } from './fedper.ts';
import { fedsaLora } from './fedsa-lora.ts';

type Rows = readonly (readonly number[])[];
const { equal_ranks: reference } = golden<{
  equal_ranks: {
    readonly A: readonly Rows[];
    readonly B: readonly Rows[];
    readonly n_k: readonly number[];
    readonly ffa: { readonly A_frozen: Rows; readonly B: Rows; readonly product: Rows };
    readonly fedsa: { readonly A: Rows; readonly client_products: readonly Rows[] };
    readonly rolora: {
      readonly A_common: Rows;
      readonly round_1_B: Rows;
      readonly round_1_product: Rows;
      readonly round_2_A: Rows;
      readonly round_2_product: Rows;
    };
  };
}>('aggregation.json');
const layout = toyLayout();
const context = contextOf(layout);
const { A, B, n_k } = reference;
const locals = A.map((a, k) => pair(a, B[k]!));
const members = (round = 0) =>
  locals.map((factors, k) => ({ kit: endingAt(factors, { client: `c${k}`, examples: n_k[k]!, round }) }));
const zeroB = (a: Rows): Tensors =>
  pair(
    a,
    B[0]!.map((row) => row.map(() => 0)),
  );

describe('FFA-LoRA', () => {
  it('averages B around the frozen A, exactly (aggregation.json)', async () => {
    const [stage] = ffaLora.stages({}, context);
    const { shared, updates } = await oneRound(
      stage!,
      begin(stage!, { layout, factors: zeroB(reference.ffa.A_frozen) }),
      members(),
    );
    expect(distance(productOf(stage!, shared), matrix(reference.ffa.product))).toBeLessThan(1e-5);
    const { factors } = stage!.models(shared)[0]!.adapter;
    expect(distance(factors.get(keyOfB('m0')), matrix(reference.ffa.B))).toBeLessThan(1e-5);
    // A's bytes never change, and never travel up.
    expect(factors.get(keyOfA('m0'))).toEqual(matrix(reference.ffa.A_frozen));
    for (const update of updates.values()) expect([...update.keys()]).toEqual([keyOfB('m0')]);
  });
});

describe('RoLoRA', () => {
  it('averages B, then A around the averaged B (aggregation.json)', async () => {
    const [stage] = rolora.stages({}, contextOf(layout, { rounds: 2 }));
    const { rolora: expected } = reference;
    const first = await oneRound(stage!, begin(stage!, { layout, factors: zeroB(expected.A_common) }), members(0), 0);
    expect(distance(productOf(stage!, first.shared), matrix(expected.round_1_product))).toBeLessThan(1e-5);
    const second = await oneRound(stage!, first.shared, members(1), 1);
    expect(distance(productOf(stage!, second.shared), matrix(expected.round_2_product))).toBeLessThan(1e-5);
    for (const [updates, key] of [
      [first.updates, keyOfB('m0')],
      [second.updates, keyOfA('m0')],
    ] as const) {
      for (const update of updates.values()) expect([...update.keys()]).toEqual([key]);
    }
  });
});

describe('FedSA-LoRA', () => {
  it('gives each client the averaged A with its own B (aggregation.json)', async () => {
    const [stage] = fedsaLora.stages({}, context);
    const { shared, mine, updates } = await oneRound(stage!, begin(stage!, toyAdapter(layout, 4)), members());
    for (const [k, product] of reference.fedsa.client_products.entries()) {
      expect(distance(productOf(stage!, shared, 'm0', mine.get(`c${k}`)), matrix(product))).toBeLessThan(1e-5);
      expect([...updates.get(`c${k}`)!.keys()]).toEqual([keyOfA('m0')]);
    }
    expect(
      distance(stage!.models(shared)[0]!.adapter.factors.get(keyOfA('m0')), matrix(reference.fedsa.A)),
    ).toBeLessThan(1e-5);
  });
});

/** Three rounds of clients that each go their own way from wherever they stand. */
async function threeRounds(method: typeof fedit, options: object) {
  const [stage] = method.stages(
    options,
    contextOf(two, { rounds: 3, train: { ...plainTraining, length: { steps: 2 } } }),
  );
  let shared = begin(stage!, toyAdapter(two, 1), ['c0', 'c1']);
  let mine = new Map<string, State>();
  for (let round = 0; round < 3; round++) {
    const kits = [0, 1].map((k) => {
      const goal = randomFactors(two, 20 + k);
      return exactKit((factors) => subtract(factors, goal), { client: `c${k}`, examples: k + 1, round });
    });
    const result = await oneRound(
      stage!,
      shared,
      kits.map((kit) => ({ kit, ...(mine.has(kit.client) && { mine: mine.get(kit.client)! }) })),
      round,
    );
    shared = result.shared;
    mine = new Map(result.mine);
  }
  const personal = (client: string): Tensors => stage!.models(shared, mine.get(client))[0]!.adapter.factors;
  return { global: stage!.models(shared)[0]!.adapter.factors, personal };
}
const two = toyLayout({ modules: 2 });

describe('factors that stay local', () => {
  it('FedSA keeps B and Fed-ALoRA keeps A: their clients agree in the other factor to the bit', async () => {
    for (const [method, common] of [
      [fedsaLora, keyOfA],
      [fedAlora, keyOfB],
    ] as const) {
      const { personal } = await threeRounds(method, {});
      const own = common === keyOfA ? keyOfB : keyOfA;
      expect(personal('c0').get(common('m1'))).toEqual(personal('c1').get(common('m1')));
      expect(distance(personal('c0').get(own('m1')), personal('c1').get(own('m1')))).toBeGreaterThan(1e-3);
    }
  });

  it('Fed-ALoRA adds up B_2·B_1 of a client of lower rank, whose A_k and M survive each download', async () => {
    const train = { ...plainTraining, length: { steps: 2 } };
    const [stage] = fedAlora.stages({ ranks: { c0: 1 } }, contextOf(two, { rounds: 3, train }));
    let shared = begin(stage!, toyAdapter(two, 1), ['c0', 'c1']);
    let mine = new Map<string, State>();
    const b = keyOfB('m1');
    const globalB = () => stage!.models(shared)[0]!.adapter.factors.get(b)!;
    for (let round = 0; round < 3; round++) {
      const before = globalB();
      const held = mine.get('c0') && stage!.models(shared, mine.get('c0'))[0]!.adapter.factors.get(keyOfA('m1'));
      const members = [0, 1].map((k) => {
        const goal = randomFactors(two, 20 + k);
        const kit = exactKit((at) => subtract(at, goal), { client: `c${k}`, examples: k + 1, round });
        return { kit, ...(mine.has(`c${k}`) && { mine: mine.get(`c${k}`)! }) };
      });
      const result = await oneRound(stage!, shared, members, round);
      const sent = ['c0', 'c1'].map((name) => result.updates.get(name)!.get(b)!.data);
      if (held)
        expect(held).toEqual(stage!.models(result.shared, mine.get('c0'))[0]!.adapter.factors.get(keyOfA('m1')));
      [shared, mine] = [result.shared, new Map(result.mine)];
      globalB().data.forEach((x, i) =>
        expect(x).toBeCloseTo(before.data[i]! + sent[0]![i]! / 3 + (2 * sent[1]![i]!) / 3, 6),
      );
      expect(Math.max(...sent[0]!.map(Math.abs))).toBeGreaterThan(1e-3);
    }
    // In the last rounds M has moved: the client's A has left the first row, and is of rank 1 still.
    const { shape, data } = stage!.models(shared, mine.get('c0'))[0]!.adapter.factors.get(keyOfA('m1'))!;
    const columns = shape[1]!;
    expect(Math.max(...data.slice(columns).map(Math.abs))).toBeGreaterThan(1e-4);
    for (let j = 1; j < columns; j++)
      expect(Math.abs(data[0]! * data[columns + j]! - data[j]! * data[columns]!)).toBeLessThan(1e-6);
    expect(stage!.models(shared, mine.get('c1'))[0]!.adapter.factors.get(b)).toEqual(globalB());
  });

  it('Fed-ALoRA with ranks refuses an optimizer that goes on, and ranks of nobody or above lora.rank', () => {
    const stages = (options: object) => fedAlora.stages(options, context);
    expect(() => stages({ ranks: { c0: 1 }, optimizerState: 'keep' })).toThrow('needs `optimizerState: reset`');
    expect(() => stages({ ranks: { c0: 99 } })).toThrow('is the largest there can be');
    expect(() => begin(stages({ ranks: { nobody: 1 } })[0]!, toyAdapter(layout, 1), ['c0'])).toThrow('nobody');
  });

  it('FedPer with no pattern is FedIT to the bit', async () => {
    const [per, it] = [await threeRounds(fedper, { local: [] }), await threeRounds(fedit, {})];
    expect(sameBits(per.global, it.global)).toBe(true);
  });

  it('FedPer by module keeps exactly that module, and survives each download', async () => {
    const { global, personal } = await threeRounds(fedper, { local: ['m1'] });
    const fedits = await threeRounds(fedit, {});
    for (const key of [keyOfA('m0'), keyOfB('m0')]) expect(personal('c0').get(key)).toEqual(fedits.global.get(key));
    for (const key of [keyOfA('m1'), keyOfB('m1')]) {
      expect(personal('c0').get(key)).not.toEqual(personal('c1').get(key));
      expect(global.get(key)).toEqual(toyAdapter(two, 1).factors.get(key));
    }
  });

  it('FedPer with everything local is local training, round by round', async () => {
    const { personal } = await threeRounds(fedper, { local: ['lora_A', 'lora_B'] });
    const context = contextOf(two, { rounds: 3, train: { ...plainTraining, length: { steps: 2 } } });
    // AdamW starts afresh with each round, so three short trainings in a row are the reference.
    const [alone] = localOnly.stages({ steps: 2 }, context);
    let factors = toyAdapter(two, 1).factors;
    for (let round = 0; round < 3; round++) {
      const goal = randomFactors(two, 20);
      const kit = exactKit((at) => subtract(at, goal), { client: 'c0' });
      const { shared, mine } = await oneRound(alone!, begin(alone!, { layout: two, factors }), [{ kit }]);
      factors = alone!.models(shared, mine.get('c0'))[0]!.adapter.factors;
    }
    expect(sameBits(personal('c0'), factors)).toBe(true);
  });

  it('FedPer refuses a pattern that names nothing', () => {
    expect(() => fedper.stages({ local: ['k_proj'] }, context)).toThrow('k_proj');
  });
});
