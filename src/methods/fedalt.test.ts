import { describe, expect, it } from 'vitest';
import { begin, contextOf, exactKit, oneRound, plainTraining } from '../../tests/support/rounds.ts';
import { distance, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB } from '../lora/adapter.ts';
import { keyOfGate } from '../lora/gate.ts';
import { stackAdapter } from '../lora/mix.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { add, scale, tensor } from '../tensor/tensors.ts';
import { fedalt, restOfWorld } from './fedalt.ts';
import type { PrivateState } from './private-state.ts';

const layout = toyLayout();
const start = toyAdapter(layout, 1);
const names = ['c0', 'c1', 'c2'];
const keys = [keyOfA('m0'), keyOfB('m0')];
const one = (x: number): Tensors => new Map([['x', tensor([1], [x])]]);

it('the rest of the world of θ = (1, 2, 6) is (4, 3.5, 1.5), from the sum and one’s own', () => {
  const rest = [1, 2, 6].map((own) => restOfWorld(one(9), 3, one(own)).get('x')!.data[0]);
  expect(rest).toEqual([4, 3.5, 1.5]);
  // Who has not taken part has nothing to take out; of nobody there is nothing.
  expect(restOfWorld(one(9), 3, undefined).get('x')!.data[0]).toBe(3);
  expect(restOfWorld(one(6), 1, one(6)).get('x')!.data[0]).toBe(0);
});

/** Rounds in which these clients take part; each pulls all it is fed towards numbers of its own. */
async function federate(rounds: readonly (readonly number[])[]) {
  const [stage] = fedalt.stages(
    {},
    contextOf(layout, { rounds: rounds.length, train: { ...plainTraining, length: { steps: 3 } } }),
  );
  let shared = begin(stage!, start, names);
  const mine = new Map<string, State>();
  const fed: Tensors[][] = names.map(() => []);
  const sent: (readonly string[])[] = [];
  for (const [round, present] of rounds.entries()) {
    const members = present.map((k) => {
      const kit = exactKit(
        (at) => {
          fed[k]!.push(at);
          return new Map(
            [...at].map(([key, { shape, data }]) => [
              key,
              tensor(
                shape,
                data.map((x, i) => x - Math.sin(7 * k + i)),
              ),
            ]),
          );
        },
        { client: names[k]!, examples: k + 1, round },
      );
      return { kit, ...(mine.has(names[k]!) && { mine: mine.get(names[k]!)! }) };
    });
    const result = await oneRound(stage!, shared, members, round);
    shared = result.shared;
    for (const [client, state] of result.mine) mine.set(client, state);
    sent.push([...result.updates.get(names[present[0]!]!)!.keys()]);
  }
  const own = (k: number): Tensors =>
    new Map(keys.map((key) => [key, (mine.get(names[k]!) as PrivateState).personal!.get(key)!]));
  return { stage: stage!, shared, mine, fed, sent, own };
}

const meanOf = (of: readonly Tensors[]): Tensors => scale(of.reduce(add), 1 / of.length);
const near = (x: Tensors, y: Tensors): void => {
  for (const key of keys) expect(distance(x.get(key), y.get(key))).toBeLessThan(1e-5);
};

describe('FedALT', () => {
  it('gives each client the uniform mean of the others’ own adapters, whatever their examples', async () => {
    const { stage, shared, mine, own } = await federate([
      [0, 1, 2],
      [0, 1, 2],
    ]);
    for (const [k, name] of names.entries()) {
      const [mineNow, others] = stage.models(shared, mine.get(name));
      near(mineNow!.adapter.factors, own(k));
      near(others!.adapter.factors, meanOf([0, 1, 2].filter((j) => j !== k).map(own)));
    }
    // The global model, a choice of this project: the mean of all.
    near(stage.models(shared)[0]!.adapter.factors, meanOf([0, 1, 2].map(own)));
  });

  it('counts those who have taken part, as they last were; a latecomer sees them all and begins where all began', async () => {
    const { stage, shared, mine, own, fed } = await federate([[0, 1], [1], [2]]);
    near(stage.models(shared, mine.get('c2'))[1]!.adapter.factors, meanOf([own(0), own(1)]));
    near(stage.models(shared, mine.get('c0'))[1]!.adapter.factors, meanOf([own(1), own(2)]));
    const first = fed[2]![0]!.get(keyOfA('m0'))!.data;
    expect(first.slice(0, 10)).toEqual(start.factors.get(keyOfA('m0'))!.data);
    const others = meanOf([own(0), own(1)]).get(keyOfA('m0'))!.data;
    for (const [i, x] of others.entries()) expect(first[10 + i]).toBeCloseTo(x, 5);
    // Nobody has a personal model before taking part.
    expect(stage.models(shared, undefined)).toHaveLength(1);
  });

  it('trains its own A, B and mixer with the others’ frozen beside them; the mixer is never sent', async () => {
    const { fed, sent, mine } = await federate([
      [0, 1, 2],
      [0, 1, 2],
    ]);
    const second = fed[0]!.slice(3, 6);
    const rowsOf = (at: Tensors, from: number, to: number): Float32Array => at.get(keyOfA('m0'))!.data.slice(from, to);
    expect(rowsOf(second[2]!, 10, 20)).toEqual(rowsOf(second[0]!, 10, 20));
    expect(rowsOf(second[2]!, 0, 10)).not.toEqual(rowsOf(second[0]!, 0, 10));
    expect(fed[0]![0]!.get(keyOfGate('m0'))!.data.every((x) => x === 0)).toBe(true);
    expect((mine.get('c0') as PrivateState).personal!.get(keyOfGate('m0'))!.data.some((x) => x !== 0)).toBe(true);
    // The second round goes on with the mixer of the first.
    const once = await federate([[0, 1, 2]]);
    const mixer = (once.mine.get('c0') as PrivateState).personal!.get(keyOfGate('m0'));
    expect(distance(second[0]!.get(keyOfGate('m0')), mixer)).toBe(0);
    for (const keysSent of sent) expect([...keysSent].sort()).toEqual([...keys, 'joined'].sort());
  });

  it('with one client has nothing beside it', async () => {
    const { stage, shared, mine } = await federate([[0], [0]]);
    const [, others] = stage.models(shared, mine.get('c0'));
    for (const { data } of others!.adapter.factors.values()) expect(data.every((x) => x === 0)).toBe(true);
  });

  it('is no single adapter, and says so', async () => {
    const { stage, shared, mine } = await federate([[0, 1]]);
    const mix = stage.models(shared, mine.get('c0'));
    expect(() => stackAdapter(mix)).toThrow('no single adapter');
    const { gate: _, ...without } = mix[0]!;
    expect(() => stackAdapter([without, mix[1]!])).toThrow('either all parts of a mix have a gate, or none');
  });
});
