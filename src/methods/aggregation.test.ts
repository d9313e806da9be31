import { describe, expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import { contextOf } from '../../tests/support/rounds.ts';
import { distance, matrix, toyLayout } from '../../tests/toy-adapter.ts';
import { each, sum } from '../federation/combine.ts';
import { keyOfA, keyOfB } from '../lora/adapter.ts';
import type { Axis } from '../lora/decompose.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { subtract } from '../tensor/tensors.ts';
import { randomFactors } from '../../tests/toy-adapter.ts';
import { fedit } from './fedit.ts';
import { fedloraOptimizer } from './fedlora-optimizer/method.ts';
import type { Combined, Stage } from './stage.ts';

type Rows = readonly (readonly number[])[];
interface Golden {
  readonly equal_ranks: {
    readonly A: readonly Rows[];
    readonly B: readonly Rows[];
    readonly n_k: readonly number[];
    readonly fedit: { readonly A: Rows; readonly B: Rows };
    readonly component_averaging: Record<Axis, { readonly A: Rows; readonly B: Rows }>;
  };
}
const { A, B, n_k, fedit: averaged, component_averaging } = golden<Golden>('aggregation.json').equal_ranks;

const layout = toyLayout();
const pair = (a: Rows, b: Rows): Tensors =>
  new Map([
    [keyOfA('m0'), matrix(a)],
    [keyOfB('m0'), matrix(b)],
  ]);
const clients = A.map((a, k) => pair(a, B[k]!));

const context = contextOf(layout);

/** One round of a stage in which client k ends with the given factors, from wherever the server stood. */
function aggregate(stage: Stage, start: Tensors, locals: readonly Tensors[], weights: readonly number[]): Tensors {
  const combiner = stage.combine === 'each' ? each() : sum();
  for (const [k, factors] of locals.entries()) {
    combiner.add({ client: `c${k}`, update: subtract(factors, start), weight: weights[k]! });
  }
  const shared = stage.start({ adapter: { layout, factors: start }, before: undefined, clients: [] });
  const applied = stage.apply(shared, combiner.finish()!.combined, 0);
  return stage.models(applied)[0]!.adapter.factors;
}

function expectClose(actual: Tensors, a: Rows, b: Rows): void {
  expect(distance(actual.get(keyOfA('m0')), matrix(a))).toBeLessThan(1e-5);
  expect(distance(actual.get(keyOfB('m0')), matrix(b))).toBeLessThan(1e-5);
}

describe('FedIT (aggregation.json)', () => {
  it.each([1, 2])('averages A and B by examples, wherever the server stood (start %i)', (seed) => {
    const [stage] = fedit.stages({}, context);
    expectClose(aggregate(stage!, randomFactors(layout, seed), clients, n_k), averaged.A, averaged.B);
  });
});

describe('component averaging (aggregation.json)', () => {
  it.each(['column', 'rank', 'row'] as const)('averages magnitudes, and directions renormalised: %s', (axis) => {
    const [stage] = fedloraOptimizer.stages({ axis }, context);
    const { A: a, B: b } = component_averaging[axis];
    expectClose(aggregate(stage!, randomFactors(layout, 3), clients, n_k), a, b);
  });

  it.each(['column', 'rank', 'row'] as const)(
    'identical clients are their own average, by components as by factors: %s',
    (axis) => {
      const same = randomFactors(layout, 9);
      for (const average of ['components', 'factors']) {
        const [stage] = fedloraOptimizer.stages({ axis, average }, context);
        const result = aggregate(stage!, randomFactors(layout, 4), [same, same, same], n_k);
        for (const [key, value] of same) expect(distance(result.get(key), value)).toBeLessThan(1e-6);
      }
    },
  );

  it('keeps the previous direction where directions cancel', () => {
    const [stage] = fedloraOptimizer.stages({ axis: 'column' }, context);
    const one = randomFactors(layout, 5);
    const opposite = new Map([...one].map(([key, { shape, data }]) => [key, { shape, data: data.map((x) => -x) }]));
    const start = randomFactors(layout, 6);
    const result = aggregate(stage!, start, [one, opposite], [1, 1]);
    for (const key of start.keys()) {
      for (const x of result.get(key)!.data) expect(Number.isFinite(x)).toBe(true);
    }
    const cosine = columnCosine(result.get(keyOfA('m0'))!.data, start.get(keyOfA('m0'))!.data, 5, 0);
    expect(cosine).toBeCloseTo(1, 5);
  });
});

describe('uploading components in place of factors', () => {
  it.each(['column', 'rank', 'row'] as const)('needs only sums and gives the same average: %s', async (axis) => {
    const [stage] = fedloraOptimizer.stages({ axis, upload: 'components' }, context);
    const start = randomFactors(layout, 7);
    const shared = stage!.start({ adapter: { layout, factors: start }, before: undefined, clients: [] });
    const combiner = sum();
    for (const [k, factors] of clients.entries()) {
      const work = stage!.work(stage!.broadcast(shared, `c${k}`, 0), undefined, kitEndingIn(factors, n_k[k]!));
      let next = await work.next();
      while (!next.done) next = await work.next();
      combiner.add({ client: `c${k}`, update: next.value.update, weight: next.value.weight });
    }
    const applied = stage!.apply(shared, combiner.finish()!.combined satisfies Combined, 0);
    const { A: a, B: b } = component_averaging[axis];
    expectClose(stage!.models(applied)[0]!.adapter.factors, a, b);
  });
});

/** A client whose training ends in the given factors. */
function kitEndingIn(factors: Tensors, examples: number): Parameters<Stage['work']>[2] {
  return {
    client: 'c',
    round: 0,
    overall: { round: 0, rounds: 1 },
    examples,
    labelledTokens: examples,
    signal: new AbortController().signal,
    // oxlint-disable-next-line require-yield
    async *train({ from }) {
      return {
        params: factors,
        adapter: { layout: from.layout, factors },
        optimizerState: null,
        steps: 1,
        loss: 0,
        tokens: 1,
      };
    },
    gradient: () => {
      throw new Error('stage 0 asks for no gradient');
    },
    represent: () => {
      throw new Error('stage 0 asks for no representation');
    },
  };
}

function columnCosine(a: Float32Array, b: Float32Array, columns: number, column: number): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = column; i < a.length; i += columns) {
    ab += a[i]! * b[i]!;
    aa += a[i]! * a[i]!;
    bb += b[i]! * b[i]!;
  }
  return ab / Math.sqrt(aa * bb);
}
