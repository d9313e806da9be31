import { describe, expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import { begin, contextOf, exactKit, oneRound, plainTraining, type Member } from '../../tests/support/rounds.ts';
import { toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB } from '../lora/adapter.ts';
import { sgd } from '../optim/sgd.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { mapTensors, tensor } from '../tensor/tensors.ts';
import { fedit } from './fedit.ts';
import { scaffold, type ScaffoldState, type Variate } from './scaffold.ts';

interface Round {
  readonly sampled: readonly number[];
  readonly x: readonly number[];
  readonly c: readonly number[];
  readonly c_k: readonly (readonly number[])[];
}
const { scaffold: reference } = golden<{
  scaffold: {
    readonly h: readonly (readonly number[])[];
    readonly centres: readonly (readonly number[])[];
    readonly x0: readonly number[];
    readonly eta: number;
    readonly local_steps: number;
    readonly server_lr: number;
    readonly full_participation: readonly Round[];
    readonly round_2_clients_0_and_2: readonly Round[];
    readonly limit: readonly number[];
  };
}>('aggregation.json');

// Two numbers as the factors of one module: A [1, 1] and B [1, 1].
const layout = toyLayout({ rank: 1, inFeatures: 1, outFeatures: 1 });
const keys = [keyOfA('m0'), keyOfB('m0')];
const two = (x: readonly number[]): Tensors => new Map(keys.map((key, i) => [key, tensor([1, 1], [x[i]!])]));
const numbers = (x: Tensors): number[] => keys.map((key) => x.get(key)!.data[0]!);

/** Clients with loss ½Σh(x − centre)². */
const member = (k: number, h: readonly number[], centre: readonly number[], mine: State | undefined): Member => ({
  kit: exactKit(
    (factors) =>
      mapTensors(factors, ({ shape, data }, key) => {
        const i = keys.indexOf(key);
        return { shape, data: data.map((x) => h[i]! * (x - centre[i]!)) };
      }),
    { client: `c${k}` },
  ),
  ...(mine !== undefined && { mine }),
});

function federate(
  h: readonly (readonly number[])[],
  centres: readonly (readonly number[])[],
  x0: readonly number[],
  rate: number,
  steps: number,
  serverRate: number,
) {
  const context = contextOf(layout, { train: { ...plainTraining, length: { steps } } });
  const [stage] = scaffold.stages({ rate, serverRate }, context);
  const names = h.map((_, k) => `c${k}`);
  let shared = begin(stage!, { layout, factors: two(x0) }, names) as ScaffoldState;
  const mine = new Map<string, State>();
  return {
    async round(sampled: readonly number[]) {
      const members = sampled.map((k) => member(k, h[k]!, centres[k]!, mine.get(names[k]!)));
      const result = await oneRound(stage!, shared, members);
      shared = result.shared as ScaffoldState;
      for (const [client, state] of result.mine) mine.set(client, state);
      return { shared, variates: names.map((name) => (mine.get(name) as Variate | undefined)?.variate) };
    },
  };
}

const close = (actual: Tensors, expected: readonly number[], digits = 5): void => {
  for (const [i, x] of numbers(actual).entries()) expect(x).toBeCloseTo(expected[i]!, digits);
};

describe('SCAFFOLD (aggregation.json)', () => {
  const { h, centres, x0, eta, local_steps, server_lr } = reference;
  it.each(['full_participation', 'round_2_clients_0_and_2'] as const)(
    'x, c and c_k after each round: %s',
    async (name) => {
      const run = federate(h, centres, x0, eta, local_steps, server_lr);
      for (const expected of reference[name]) {
        const { shared, variates } = await run.round(expected.sampled);
        close(shared.factors, expected.x);
        close(shared.variate, expected.c);
        for (const [k, variate] of variates.entries()) close(variate!, expected.c_k[k]!);
      }
    },
  );

  it('converges to the minimum of the mean loss, where unlike clients pull averaging aside', async () => {
    const run = federate(h, centres, x0, eta, local_steps, server_lr);
    let last = await run.round([0, 1, 2]);
    for (let round = 0; round < 80; round++) last = await run.round([0, 1, 2]);
    close(last.shared.factors, reference.limit, 4);
  });
});

it('settles at .8 with c_1 = .8 and c_2 = −.8 for h = (1, 4), a = (0, 1), and keeps mean(c_k) = c', async () => {
  const run = federate(
    [
      [1, 1],
      [4, 4],
    ],
    [
      [0, 0],
      [1, 1],
    ],
    [0, 0],
    0.1,
    10,
    1,
  );
  for (let round = 0; round < 60; round++) {
    const { shared, variates } = await run.round([0, 1]);
    const mean = numbers(variates[0]!).map((c, i) => (c + numbers(variates[1]!)[i]!) / 2);
    close(shared.variate, mean);
    if (round < 59) continue;
    close(shared.factors, [0.8, 0.8], 4);
    close(variates[0]!, [0.8, 0.8], 4);
    close(variates[1]!, [-0.8, -0.8], 4);
  }
});

it('is needed there: averaging the same clients, by the same plain SGD, settles at .604126', async () => {
  const [stage] = fedit.stages(
    { weights: 'uniform' },
    contextOf(layout, { train: { ...plainTraining, length: { steps: 10 } } }),
  );
  let shared = begin(stage!, { layout, factors: two([0, 0]) });
  for (let round = 0; round < 60; round++) {
    const members = [member(0, [1, 1], [0, 0], undefined), member(1, [4, 4], [1, 1], undefined)].map(
      ({ kit }): Member => ({
        kit: { ...kit, train: (request) => kit.train({ ...request, optimizer: sgd({ rate: 0.1 }) }) },
      }),
    );
    shared = (await oneRound(stage!, shared, members)).shared;
  }
  close(shared as Tensors, [0.604126, 0.604126], 4);
});

describe('a rate that is not the same at every step', () => {
  // Losses with the same gradient everywhere: option II's c_k = c_k − c + (x − y)/Στη is that gradient, whatever the rates.
  const slope = two([0.25, -2]);
  const round = async (train: object) => {
    const [stage] = scaffold.stages({ rate: 0.1 }, contextOf(layout, { train: { ...plainTraining, ...train } }));
    const shared: ScaffoldState = { factors: two([1, 2]), variate: two([0.5, 0.125]), clients: 4 };
    const mine: Variate = { variate: two([-1, 3]) };
    const kit = exactKit(() => slope, { client: 'c0' });
    return oneRound(stage!, shared, [{ kit, mine }]);
  };

  it.each([
    { schedule: 'linear', length: { steps: 5 } },
    { schedule: 'cosine', warmup: 3, length: { steps: 8 } },
  ])('leaves c_k the mean gradient, and c the mean over all clients: %j', async (train) => {
    const { mine, shared } = await round(train);
    close((mine.get('c0') as Variate).variate!, [0.25, -2], 5);
    // c += (1/4)·(c_k⁺ − c_k).
    close((shared as ScaffoldState).variate, [0.5 + 1.25 / 4, 0.125 - 5 / 4], 5);
  });

  it('says so where every step has a rate of 0, of which no gradient can be told', async () => {
    await expect(round({ warmup: 1 })).rejects.toThrow('the rate of every step is 0');
  });
});

it('refuses to keep the best step of a training', () => {
  const train = { ...plainTraining, keepBest: { every: 2 } };
  expect(() => scaffold.stages({}, contextOf(layout, { train }))).toThrow('train.keepBest');
});
