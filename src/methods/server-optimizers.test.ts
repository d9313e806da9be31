import { describe, expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import { begin, contextOf, endingAt, oneRound } from '../../tests/support/rounds.ts';
import { distance, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { add, mapTensors, subtract, tensor } from '../tensor/tensors.ts';
import { fedit } from './fedit.ts';
import { fedadagrad } from './fedadagrad.ts';
import { fedadam } from './fedadam.ts';
import { fedavgm } from './fedavgm.ts';
import { fedyogi } from './fedyogi.ts';
import { adaptiveRule, momentumRule, type BiasCorrection, type ServerRule } from './server-optimizers.ts';

interface Rounds {
  readonly eta: number;
  readonly rounds: readonly { readonly x: readonly number[] }[];
}
const { fedopt } = golden<{
  fedopt: {
    readonly x0: number[];
    readonly mean_offset_per_round: readonly (readonly number[])[];
    readonly beta_1: number;
    readonly beta_2: number;
    readonly tau: number;
    readonly adam_flower: Rounds;
    readonly adam_textbook_correction: Rounds;
    readonly adam_uncorrected: Rounds;
    readonly yogi_flower: Rounds;
    readonly adagrad_flower: Rounds;
    readonly avgm_flower: Rounds & { readonly server_lr: number; readonly momentum: number };
  };
}>('aggregation.json');
const vector = (data: readonly number[]): Tensors => new Map([['x', tensor([data.length], data)]]);

function expectRounds(rule: ServerRule, { rounds }: Rounds): void {
  let x = vector(fedopt.x0);
  let state = rule.init(x);
  for (const [t, expected] of rounds.entries()) {
    const [move, next] = rule.step(vector(fedopt.mean_offset_per_round[t]!), state);
    [x, state] = [add(x, move), next];
    expect(distance(x.get('x'), vector(expected.x).get('x'))).toBeLessThan(1e-5);
  }
}

describe('server optimizers (aggregation.json, Flower)', () => {
  const { beta_1: beta1, beta_2: beta2, tau } = fedopt;
  const adam = (biasCorrection: BiasCorrection, rate = 0.1) =>
    adaptiveRule({ second: 'adam', rate, beta1, beta2, tau, biasCorrection });

  it('Adam without bias correction', () => expectRounds(adam('none'), fedopt.adam_uncorrected));
  it('Adam with the correction folded into the rate', () =>
    expectRounds(adam('folded'), fedopt.adam_textbook_correction));
  it('Adam as Flower corrects it, one round ahead', () => expectRounds(adam('flower'), fedopt.adam_flower));
  it('Yogi', () =>
    expectRounds(
      adaptiveRule({ second: 'yogi', rate: fedopt.yogi_flower.eta, beta1, beta2, tau, biasCorrection: 'none' }),
      fedopt.yogi_flower,
    ));
  it('Adagrad, β1 = 0', () =>
    expectRounds(
      adaptiveRule({ second: 'adagrad', rate: 0.1, beta1: 0, beta2: 0, tau, biasCorrection: 'none' }),
      fedopt.adagrad_flower,
    ));
  it('momentum', () => {
    const { server_lr: rate, momentum } = fedopt.avgm_flower;
    expectRounds(momentumRule({ rate, momentum }), fedopt.avgm_flower);
  });
});

describe('one number, Δ = 0.1', () => {
  const first = (rule: ServerRule): number => rule.step(vector([0.1]), rule.init(vector([0])))[0].get('x')!.data[0]!;
  const rule = (second: 'adagrad' | 'adam' | 'yogi', biasCorrection: BiasCorrection, beta1 = 0.9) =>
    adaptiveRule({ second, rate: 0.1, beta1, beta2: 0.99, tau: 1e-3, biasCorrection });

  it.each([
    ['none', 0.0909091],
    ['folded', 0.0909091],
    ['pytorch', 0.0990099],
    ['flower', 0.0674963],
  ] as const)('Adam, correction %s: first step %f', (correction, step) => {
    expect(first(rule('adam', correction))).toBeCloseTo(step, 7);
  });
  it('Adagrad: .0990099', () => expect(first(rule('adagrad', 'none', 0))).toBeCloseTo(0.0990099, 7));
  it('after two rounds, v is 1.99e-4 for Adam and 2.00e-4 for Yogi', () => {
    for (const [second, v] of [
      ['adam', 1.99e-4],
      ['yogi', 2e-4],
    ] as const) {
      const moments = adaptiveRule({ second, rate: 0.1, beta1: 0.9, beta2: 0.99, tau: 1e-3, biasCorrection: 'none' });
      const [, once] = moments.step(vector([0.1]), moments.init(vector([0])));
      const [, twice] = moments.step(vector([0.1]), once);
      expect((twice as { v: Tensors }).v.get('x')!.data[0]).toBeCloseTo(v, 9);
    }
  });
});

describe('as methods', () => {
  const layout = toyLayout();
  const locals = [1, 2, 3].map((seed) => randomFactors(layout, seed));
  const members = locals.map((factors, k) => ({ kit: endingAt(factors, { client: `c${k}`, examples: k + 1 }) }));
  async function after(method: typeof fedit, options: object): Promise<Tensors> {
    const [stage] = method.stages(options, contextOf(layout));
    let shared = begin(stage!, toyAdapter(layout, 7));
    for (const round of [0, 1]) ({ shared } = await oneRound(stage!, shared, members, round));
    return stage!.models(shared)[0]!.adapter.factors;
  }

  it('FedAvgM with β = 0 and rate 1 is FedIT', async () => {
    const [a, b] = [await after(fedavgm, { momentum: 0, rate: 1 }), await after(fedit, {})];
    for (const [key, value] of a) expect(distance(value, b.get(key))).toBeLessThan(1e-6);
  });

  // Δ = 0.1 everywhere: m = 0.1·Δ and v = 0.01·Δ², but Adagrad's m = Δ and v = Δ²; τ = 1e-3 (ALGORITHMS §1).
  it.each([
    [fedavgm, 0.1],
    [fedadagrad, 0.0990099],
    [fedadam, 0.0909091],
    [fedyogi, 0.00909091],
  ] as const)('$name has its published defaults: a first step of %d for Δ = 0.1', async (method, expected) => {
    const start = toyAdapter(layout, 7);
    const ends = mapTensors(start.factors, ({ shape, data }) => ({ shape, data: data.map((x) => x + 0.1) }));
    const [stage] = method.stages({}, contextOf(layout));
    const kit = endingAt(ends, { client: 'c0' });
    const { shared } = await oneRound(stage!, begin(stage!, start), [{ kit }]);
    const moved = subtract(stage!.models(shared)[0]!.adapter.factors, start.factors);
    for (const { data } of moved.values()) for (const x of data) expect(x).toBeCloseTo(expected, 6);
  });

  it.each([fedavgm, fedadagrad, fedadam, fedyogi])(
    '$name with `overRounds` takes the first step whole and the second of two by half',
    async (method) => {
      const after = async (options: object, rounds: number): Promise<Tensors> => {
        const [stage] = method.stages(options, contextOf(layout, { rounds: 2 }));
        let shared = begin(stage!, toyAdapter(layout, 7));
        for (let round = 0; round < rounds; round++) ({ shared } = await oneRound(stage!, shared, members, round));
        return stage!.models(shared)[0]!.adapter.factors;
      };
      const falling = { rate: 0.3, overRounds: 'linear' };
      const [first, still, fallen] = [await after(falling, 1), await after({ rate: 0.3 }, 2), await after(falling, 2)];
      for (const [key, value] of await after({ rate: 0.3 }, 1)) expect(first.get(key)).toEqual(value);
      for (const [key, { data }] of first) {
        const [whole, half] = [still.get(key)!.data, fallen.get(key)!.data];
        data.forEach((x, i) => expect(half[i]! - x).toBeCloseTo((whole[i]! - x) / 2, 6));
      }
    },
  );

  it.each([fedadagrad, fedadam, fedyogi])('$name moves every factor towards the clients’ mean', async (method) => {
    const start = toyAdapter(layout, 7).factors;
    const [moved, mean] = [await after(method, { rate: 1e-3 }), await after(fedit, {})];
    for (const [key, { data }] of moved) {
      const from = start.get(key)!.data;
      const towards = mean.get(key)!.data;
      for (const [i, x] of data.entries()) {
        expect(Math.sign(x - from[i]!)).toBe(Math.sign(towards[i]! - from[i]!));
        expect(Math.abs(x - from[i]!)).toBeLessThan(2.5e-3);
      }
    }
  });
});
