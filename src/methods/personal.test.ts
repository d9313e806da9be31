import { describe, expect, it } from 'vitest';
import { deltaOf } from '../../tests/support/delta.ts';
import { begin, contextOf, exactKit, oneRound, plainTraining, productOf } from '../../tests/support/rounds.ts';
import { distance, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB } from '../lora/adapter.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { sameBits, subtract, tensor, zerosLike } from '../tensor/tensors.ts';
import { ditto } from './ditto.ts';
import { feddpa } from './feddpa.ts';
import { fedit } from './fedit.ts';
import { localOnly } from './local-only.ts';
import type { Method } from './method.ts';
import type { PrivateState } from './private-state.ts';
import type { TrainSettings } from '../train/settings.ts';

const layout = toyLayout();
const start = toyAdapter(layout, 1);
const names = ['c0', 'c1'];
const goals = names.map((_, k) => randomFactors(layout, 30 + k));

/** Rounds in which each client's loss is ½‖θ − goal‖² over whatever the graph is fed, as far as it has goals. */
async function federate(method: Method, options: object, rounds = 3, train: Partial<TrainSettings> = {}) {
  const stages = method.stages(
    options,
    contextOf(layout, { rounds, train: { ...plainTraining, length: { steps: 3 }, ...train } }),
  );
  let adapter = start;
  const mine = new Map<string, State>();
  const seen: Tensors[][] = names.map(() => []);
  let shared: State = null;
  for (const stage of stages) {
    shared = begin(stage, adapter, names);
    for (let round = 0; round < stage.rounds; round++) {
      const members = names.map((client, k) => {
        const kit = exactKit(
          (fed) => {
            seen[k]!.push(fed);
            return towards(fed, goals[k]!);
          },
          { client, examples: k + 1, round },
        );
        return { kit, ...(mine.has(client) && { mine: mine.get(client)! }) };
      });
      const result = await oneRound(stage, shared, members, round);
      shared = result.shared;
      for (const [client, state] of result.mine) mine.set(client, state);
    }
    adapter = stage.models(shared)[0]!.adapter;
  }
  const last = stages.at(-1)!;
  return { stage: last, shared, mine, seen, global: last.models(shared)[0]!.adapter.factors };
}

/** Gradient of ½‖fed − goal‖², where the graph is fed more than the goal has: 0 for the rest. */
const towards = (fed: Tensors, goal: Tensors): Tensors => {
  const own = [...fed].every(([key, { data }]) => data.length === goal.get(key)!.data.length);
  if (own) return subtract(fed, goal);
  return new Map(
    [...fed].map(([key, { shape, data }]) => [
      key,
      tensor(
        shape,
        data.map((x, i) => x - Math.cos(i)),
      ),
    ]),
  );
};

describe('Ditto', () => {
  it('has FedIT’s global model to the bit, whatever λ', async () => {
    const plain = await federate(fedit, {});
    for (const lambda of [0, 0.1, 3]) {
      expect(sameBits((await federate(ditto, { lambda })).global, plain.global)).toBe(true);
    }
  });

  it('ends, on ½‖v − a‖², at (a + λw)/(1 + λ)', async () => {
    const lambda = 0.5;
    const { mine } = await federate(ditto, { lambda, local: { steps: 1500 } }, 1, { rate: 5e-3 });
    for (const [k, client] of names.entries()) {
      const { personal } = mine.get(client) as PrivateState;
      for (const [key, { data }] of personal!) {
        for (const [i, v] of data.entries()) {
          const expected = (goals[k]!.get(key)!.data[i]! + lambda * start.factors.get(key)!.data[i]!) / (1 + lambda);
          expect(Math.abs(v - expected)).toBeLessThan(5e-3);
        }
      }
    }
  });

  it('is pulled towards the global adapter of the round, not towards where it stands', async () => {
    const lambda = 2;
    const train: Partial<TrainSettings> = { rate: 5e-3, length: { steps: 200 } };
    const { mine } = await federate(ditto, { lambda, local: { steps: 1500 } }, 2, train);
    const { global } = await federate(fedit, {}, 1, train);
    const { personal } = mine.get('c0') as PrivateState;
    for (const [key, { data }] of personal!) {
      const [own, shared] = [goals[0]!.get(key)!.data, global.get(key)!.data];
      for (const [i, v] of data.entries())
        expect(Math.abs(v - (own[i]! + lambda * shared[i]!) / (1 + lambda))).toBeLessThan(5e-3);
    }
  });

  it('with λ = 0 is local training, round by round, nearer to the client’s own the smaller λ', async () => {
    const free = await federate(ditto, { lambda: 0 });
    let factors = start.factors;
    for (let round = 0; round < 3; round++) {
      const [alone] = localOnly.stages({ steps: 3 }, contextOf(layout));
      const kit = exactKit((at) => subtract(at, goals[0]!), { client: 'c0' });
      const { shared, mine } = await oneRound(alone!, begin(alone!, { layout, factors }), [{ kit }]);
      factors = alone!.models(shared, mine.get('c0'))[0]!.adapter.factors;
    }
    expect(sameBits((free.mine.get('c0') as PrivateState).personal!, factors)).toBe(true);
    const held = await federate(ditto, { lambda: 100 });
    const far = (run: typeof held): number =>
      distance((run.mine.get('c0') as PrivateState).personal!.get(keyOfB('m0')), goals[0]!.get(keyOfB('m0')));
    expect(far(held)).toBeGreaterThan(far(free));
  });
});

describe('FedDPA', () => {
  it.each(['T', 'F'])(
    'has FedIT’s global model to the bit, and sends nothing of the local adapter: %s',
    async (variant) => {
      const plain = await federate(fedit, {});
      const dual = await federate(feddpa, { variant });
      expect(sameBits(dual.stage.models(dual.shared)[0]!.adapter.factors, plain.global)).toBe(true);
    },
  );

  it.each(['T', 'F'])('mixes products, α of the local and 1 − α of the global: %s', async (variant) => {
    const { stage, shared, mine, global } = await federate(feddpa, { variant, mix: 0.3 });
    const { personal } = mine.get('c0') as PrivateState;
    const local = deltaOf({ layout, factors: personal! }, 'm0').data;
    const other = deltaOf({ layout, factors: global }, 'm0').data;
    const whole = productOf(stage, shared, 'm0', mine.get('c0')).data;
    for (const [i, x] of whole.entries()) expect(x).toBeCloseTo(0.3 * local[i]! + 0.7 * other[i]!, 4);
    expect(distance(personal!.get(keyOfA('m0')), global.get(keyOfA('m0')))).toBeGreaterThan(1e-3);
  });

  it.each(['T', 'F'])('weighs by likeness where it is asked to, with the client’s own prompts: %s', async (variant) => {
    const fixed = await federate(feddpa, { variant });
    const { stage, shared, mine } = await federate(feddpa, { variant, mixing: 'likeness', prompts: 3, factor: 0.4 });
    const [local, global] = stage.models(shared, mine.get('c0'));
    expect(local!.likeness!.factor).toBe(0.4);
    expect(local!.likeness!.references.shape[0]).toBe(3);
    expect([local!.name, global!.name]).toEqual(['local', 'global']);
    // The adapters themselves do not depend on how they are mixed in the end.
    const other = fixed.stage.models(fixed.shared, fixed.mine.get('c0'));
    expect(sameBits(local!.adapter.factors, other[0]!.adapter.factors)).toBe(true);
    expect(other[0]!.likeness).toBeUndefined();
  });

  it('trains the local adapter from the second round on, with the global one frozen beside it', async () => {
    const one = await federate(feddpa, { variant: 'T' }, 1);
    expect(one.mine.get('c0')).toEqual({});
    const { seen } = await federate(feddpa, { variant: 'T', mix: 0.3 }, 2);
    const ranks = seen[0]!.map((fed) => fed.get(keyOfA('m0'))!.shape[0]);
    // Round 1: three global steps. Round 2: three of the pair, then three global ones.
    expect(ranks).toEqual([2, 2, 2, 4, 4, 4, 2, 2, 2]);
    const pairs = seen[0]!.slice(3, 6);
    const frozen = pairs.map((fed) => fed.get(keyOfA('m0'))!.data.slice(2 * 5));
    expect(frozen[2]).toEqual(frozen[0]);
    const moved = pairs.map((fed) => fed.get(keyOfA('m0'))!.data.slice(0, 2 * 5));
    expect(moved[2]).not.toEqual(moved[0]);
    // In B, the columns of the local adapter are fed α times and those of the global one 1 − α times.
    const columns = (fed: Tensors, of: (at: number) => boolean): Float32Array =>
      fed.get(keyOfB('m0'))!.data.filter((_, i) => of(i % 4));
    const shared = one.global.get(keyOfB('m0'))!.data;
    for (const fed of pairs)
      for (const [i, x] of columns(fed, (at) => at >= 2).entries()) expect(x).toBeCloseTo(0.7 * shared[i]!, 6);
    // Adam's first step has the size of the rate, from B = 0.
    for (const x of columns(pairs[1]!, (at) => at < 2)) expect(Math.abs(x)).toBeCloseTo(0.3 * plainTraining.rate, 6);
    // The local adapter begins with B = 0: the first pair is the global model at 1 − α.
    const first = pairs[0]!.get(keyOfB('m0'))!.data.filter((_, i) => i % 4 < 2);
    expect(first).toEqual(zerosLike(new Map([['b', tensor([12], first)]])).get('b')!.data);
  });
});

it.each([
  [{ steps: 3 }, 4, 0.5, { steps: 6 }],
  [{ epochs: 2 }, 10, 0.25, { epochs: 5 }],
  [{ steps: 1 }, 2, 0.1, { steps: 1 }],
] as const)(
  'local-only has the work of all rounds a client is in: %j, %d rounds at %d',
  async (length, rounds, fraction, all) => {
    const [stage] = localOnly.stages({}, contextOf(layout, { rounds, fraction, train: { ...plainTraining, length } }));
    const asked: unknown[] = [];
    const kit = exactKit((at) => at, { client: 'c0' });
    const listening: typeof kit = {
      ...kit,
      train(request) {
        asked.push(request.length);
        return kit.train(request);
      },
    };
    await oneRound(stage!, begin(stage!, start), [{ kit: listening }]);
    expect(asked).toEqual([all]);
  },
);
