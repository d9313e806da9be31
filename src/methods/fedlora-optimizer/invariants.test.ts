import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collect } from '../../../tests/support/collect.ts';
import { contextOf, plainTraining } from '../../../tests/support/rounds.ts';
import { runOn, smallLlama, type SmallLlama } from '../../../tests/support/small-llama.ts';
import { temporaryFolder } from '../../../tests/support/temporary.ts';
import type { MethodResult } from '../../federation/events.ts';
import { keyOfA, keyOfB, type Adapter } from '../../lora/adapter.ts';
import { type Axis, decompose } from '../../lora/decompose.ts';
import { normAxis } from '../../lora/axis.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { sameBits } from '../../tensor/tensors.ts';
import { pack } from '../../data/batches.ts';
import { add, scale } from '../../tensor/tensors.ts';
import { weightedSum } from '../../tensor/weighted.ts';
import { directionOfA } from '../../lora/direction.ts';
import { clientKit } from '../../train/client-kit.ts';
import type { MethodContext } from '../stage.ts';
import { fedloraOptimizer } from './method.ts';

const axes: readonly Axis[] = ['column', 'rank', 'row'];
const folder = temporaryFolder();
let llama: SmallLlama;
beforeAll(async () => {
  llama = await smallLlama();
});
afterAll(() => llama.engine.close());

async function federate(options: Record<string, unknown>): Promise<MethodResult> {
  const train = { ...plainTraining, batchSize: 4, length: { steps: 2 }, rate: 3e-3, weightDecay: 0.1, clip: 1 };
  const context = contextOf(llama.layout, { rounds: 2, train });
  const stages = fedloraOptimizer.stages(options, context);
  return runOn(llama, folder, { label: 'fedlora-optimizer', stages });
}

const globalOf = (result: MethodResult, stage: number): Adapter => result.stages[stage]!.models.global[0]!.adapter;
const personalOf = (result: MethodResult, client: string): Adapter =>
  result.stages.at(-1)!.models.personal(client)![0]!.adapter;
const factorOf = (adapter: Adapter, key: string): Tensor => adapter.factors.get(key)!;
const only = (adapter: Adapter, key: (module: string) => string): Tensors =>
  new Map(adapter.layout.modules.map(({ name }) => [key(name), factorOf(adapter, key(name))]));

/** Lengths of a factor's vectors over its axis. */
const lengths = (factor: Tensor, kind: 'A' | 'B', axis: Axis): Float32Array =>
  decompose(factor, normAxis(kind, axis)).magnitude.data;

/** The cosine of each vector of `a` with the same vector of `b`. */
function cosines(a: Tensor, b: Tensor, kind: 'A' | 'B', axis: Axis): number[] {
  const over = normAxis(kind, axis);
  const [x, y] = [decompose(a, over).direction, decompose(b, over).direction];
  const [rows, columns] = a.shape as [number, number];
  const out = Array.from({ length: over === 0 ? columns : rows }, () => 0);
  for (let i = 0; i < x.data.length; i++)
    out[over === 0 ? i % columns : Math.floor(i / columns)]! += x.data[i]! * y.data[i]!;
  return out;
}

describe('leaving out the global and the local stage (invariant 3)', () => {
  it.each(axes)('gives exactly the model of the federated rounds: %s', async (axis) => {
    const plain = await federate({ axis, global: { rounds: 0 }, local: { skip: true } });
    const whole = await federate({ axis, global: { rounds: 1, rows: 2 }, local: { steps: 1 } });
    expect(plain.stages).toHaveLength(1);
    expect(sameBits(globalOf(plain, 0).factors, globalOf(whole, 0).factors)).toBe(true);
    expect(sameBits(globalOf(plain, 0).factors, globalOf(whole, 1).factors)).toBe(false);
  });
});

describe.each(axes)('the whole pipeline, axis %s', (axis) => {
  let result: MethodResult;
  beforeAll(async () => {
    result = await federate({ axis, global: { rounds: 3, rows: 4 }, local: { steps: 3 } });
  });

  it('the global stage moves directions of A and nothing else (invariant 4)', () => {
    const [before, after] = [globalOf(result, 0), globalOf(result, 1)];
    expect(sameBits(only(before, keyOfB), only(after, keyOfB))).toBe(true);
    expect(sameBits(only(before, keyOfA), only(after, keyOfA))).toBe(false);
    for (const { name } of before.layout.modules) {
      const [a, b] = [
        lengths(factorOf(before, keyOfA(name)), 'A', axis),
        lengths(factorOf(after, keyOfA(name)), 'A', axis),
      ];
      for (const [i, length] of a.entries()) expect(Math.abs(b[i]! - length)).toBeLessThan(1e-6 * Math.max(1, length));
    }
  });

  it('the local stage leaves the global model, and of a client’s model A and the directions of B (invariant 5)', () => {
    expect(sameBits(globalOf(result, 1).factors, globalOf(result, 2).factors)).toBe(true);
    const shared = globalOf(result, 2);
    const models = llama.clients.map(({ id }) => personalOf(result, id));
    for (const model of models) {
      expect(sameBits(only(model, keyOfA), only(shared, keyOfA))).toBe(true);
      for (const { name } of model.layout.modules) {
        const [own, global] = [factorOf(model, keyOfB(name)), factorOf(shared, keyOfB(name))];
        for (const cosine of cosines(own, global, 'B', axis)) expect(Math.abs(cosine)).toBeCloseTo(1, 5);
      }
    }
    expect(sameBits(models[0]!.factors, models[1]!.factors)).toBe(false);
  });

  it('sends ΔA_D’s gradient up in the global stage and nothing in the local one', () => {
    const numbersOfA = llama.layout.modules.reduce((sum, { rank, inFeatures }) => sum + rank * inFeatures, 0);
    const { traffic } = result.stages[1]!;
    expect(traffic.get(llama.clients[0]!.id)!.up).toBe(3 * 4 * numbersOfA);
    for (const { up } of result.stages[2]!.traffic.values()) expect(up).toBe(0);
  });
});

describe('the global optimizer’s gradient (invariant 8)', () => {
  it.each(axes)('with all rows, Σ p_k·g_k is the gradient of the pooled token-mean loss: %s', async (axis) => {
    const { stages } = await federate({ axis, global: { rounds: 0 }, local: { skip: true } });
    const from = stages[0]!.models.global[0]!.adapter;
    const parametrisation = directionOfA({ axis });
    const point = parametrisation.at(from);
    const parts = [];
    for (const client of llama.clients) {
      const kit = clientKit({
        client,
        engine: llama.engine,
        seed: 1,
        stage: 'global',
        round: 0,
        rounds: 1,
        signal: new AbortController().signal,
      });
      const { result } = await collect(
        kit.gradient({ from, parametrisation, params: point.init, rows: 'all', batchSize: 3 }),
      );
      parts.push({ tensors: result.gradients, weight: kit.labelledTokens });
    }
    const tokens = parts.reduce((sum, { weight }) => sum + weight, 0);
    const together = scale(weightedSum(parts), 1 / tokens);
    const pooled = await llama.engine.step(from.factors, pack(llama.clients.flatMap(({ train }) => train)), 'A');
    expect(pooled.tokens).toBe(tokens);
    const expected = point.pullback(pooled.gradients, point.init);
    const difference = add(together, scale(expected, -1));
    const largest = (tensors: Tensors): number =>
      Math.max(...[...tensors.values()].map(({ data }) => data.reduce((m, x) => Math.max(m, Math.abs(x)), 0)));
    expect(largest(expected)).toBeGreaterThan(1e-4);
    expect(largest(difference)).toBeLessThan(1e-5 * largest(expected) + 1e-8);
  });
});

describe('the other options', () => {
  it.each([
    [
      'interleaved',
      { schedule: 'interleaved', global: { rounds: 4, rows: 2 } },
      ['federated', 'global', 'federated', 'global', 'local'],
    ],
    ['proxy', { globalData: 'proxy', global: { rounds: 2, rows: 2 } }, ['federated', 'global', 'local']],
    ['localSteps', { globalData: 'localSteps', global: { rounds: 2, steps: 2 } }, ['federated', 'global', 'local']],
    ['local-first', { order: 'local-first', global: { rounds: 2, rows: 2 } }, ['federated', 'local', 'global']],
    [
      'factor averages, kept optimizers, proximal',
      { average: 'factors', optimizerState: 'keep', penalty: 'proximal', lambda: 0.1 },
      ['federated', 'global', 'local'],
    ],
    [
      'swapped parts',
      { global: { rounds: 2, part: 'magnitude' }, local: { part: 'direction', steps: 1 } },
      ['federated', 'global', 'local'],
    ],
    [
      'no split',
      { global: { rounds: 2, part: 'factor' }, local: { part: 'factor', steps: 1 } },
      ['federated', 'global', 'local'],
    ],
    ['detached norm', { renormalise: 'detach' }, ['federated', 'global', 'local']],
    ['no norm', { renormalise: 'off' }, ['federated', 'global', 'local']],
  ])('%s: runs through its stages and every stage moves its model', async (_, options, names) => {
    const result = await federate({ local: { steps: 2 }, ...options });
    expect(result.stages.map(({ stage }) => stage)).toEqual(names);
    const personal = llama.clients.map(({ id }) => result.stages.at(-1)!.models.personal(id)![0]!.adapter.factors);
    expect(sameBits(personal[0]!, personal[1]!)).toBe(false);
    const globals = result.stages.filter(({ stage }) => stage !== 'local').map((_, i) => globalOf(result, i).factors);
    for (let i = 1; i < globals.length; i++) {
      const moved = result.stages[i]!.stage !== 'local';
      if (moved) expect(sameBits(globals[i]!, globals[i - 1]!)).toBe(false);
    }
  });

  it('the proximal penalty shrinks ΔB_M towards zero: with a huge λ the personal model is the global one', async () => {
    const result = await federate({ lambda: 1e9, penalty: 'proximal', local: { steps: 2 }, global: { rounds: 0 } });
    const [own, shared] = [personalOf(result, llama.clients[0]!.id), globalOf(result, 1)];
    for (const [key, { data }] of shared.factors) {
      const other = factorOf(own, key).data;
      for (const [i, x] of data.entries()) expect(Math.abs(other[i]! - x)).toBeLessThan(1e-6);
    }
  });

  it('local-first with interleaved global steps is refused', () => {
    expect(() =>
      fedloraOptimizer.stages({ order: 'local-first', schedule: 'interleaved' }, {} as MethodContext),
    ).toThrow('needs `schedule: staged`');
  });

  it('a rate of the global optimizer that falls is refused where there is no such optimizer', () => {
    expect(() =>
      fedloraOptimizer.stages({ globalData: 'localSteps', global: { overRounds: 'linear' } }, {} as MethodContext),
    ).toThrow('`train.overRounds` lets their rate fall');
  });
});
