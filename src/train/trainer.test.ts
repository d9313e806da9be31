import { describe, expect, test } from 'vitest';
import { collect } from '../../tests/support/collect.ts';
import { fakeClient, fakeEngine, labelledOf, POISON, row } from '../../tests/support/fake-engine.ts';
import { from, kitsOf, layout, meanGoal } from '../../tests/support/fake-kit.ts';
import { pack } from '../data/batches.ts';
import type { ClientData } from '../data/types.ts';
import { UserError } from '../errors.ts';
import { factors, onlyB } from '../lora/factors.ts';
import { adamw } from '../optim/adamw.ts';
import { chain } from '../optim/chain.ts';
import { clipByGlobalNorm } from '../optim/clip.ts';
import { sgd } from '../optim/sgd.ts';
import type { Engine } from '../runtime/engine.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { addScaled, sameBits, scale, zerosLike } from '../tensor/tensors.ts';
import type { WorkContext } from './context.ts';
import type { TrainRequest } from './kit.ts';
import { NonFinite } from './non-finite.ts';

const client = fakeClient('a', 7, 3);
const kitFor = kitsOf(client);

const request = (more: Partial<TrainRequest> = {}): TrainRequest => ({
  from,
  parametrisation: factors(),
  optimizer: sgd({ rate: 0.1 }),
  length: { epochs: 1 },
  batchSize: 2,
  ...more,
});

const numbers = (tensors: Tensors): number[] => [...tensors.values()].flatMap(({ data }) => [...data]);
/** Records the batches an engine is fed. */
function spied(engine: Engine = fakeEngine(layout)): { engine: Engine; ids: number[][] } {
  const ids: number[][] = [];
  const step: Engine['step'] = (factors, batch, want) => {
    ids.push([...batch.ids]);
    return engine.step(factors, batch, want);
  };
  return { engine: { ...engine, step }, ids };
}

describe('training', () => {
  test('full batches follow the closed form of gradient descent', async () => {
    // f ← f − 0.1·(f − c̄) = c̄ + 0.9·(f − c̄).
    const { yielded, result } = await collect(kitFor().train(request({ length: { steps: 3 }, batchSize: 7 })));
    const mean = meanGoal(client.train);
    const expected = numbers(from.factors).map((f) => mean + 0.9 ** 3 * (f - mean));
    numbers(result.params).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 6));
    expect(sameBits(result.adapter.factors, result.params)).toBe(true);
    const labelled = labelledOf(client.train).length;
    const all = client.train.reduce((sum, { ids }) => sum + ids.length, 0);
    expect(yielded.map(({ step, steps, tokens, processed }) => [step, steps, tokens, processed])).toEqual(
      [1, 2, 3].map((step) => [step, 3, labelled, all]),
    );
    expect(result).toMatchObject({ steps: 3, tokens: 3 * labelled });
    expect(result.loss).toBeCloseTo(yielded.reduce((sum, { loss }) => sum + loss, 0) / 3, 10);
  });

  test('an epoch meets every row once; steps of several micro-batches end with the epoch', async () => {
    const { engine, ids } = spied();
    const { yielded } = await collect(kitFor({ engine }).train(request({ length: { epochs: 2 }, accumulate: 3 })));
    // 7 rows: 4 micro-batches, so steps of 3 and 1, twice.
    expect(yielded.map(({ steps }) => steps)).toEqual([4, 4, 4, 4]);
    const tokens = (batches: number[][]): number[] => batches.flat().sort((a, b) => a - b);
    const once = client.train.flatMap(({ ids }) => [...ids]).sort((a, b) => a - b);
    expect(tokens(ids.slice(0, 4))).toEqual(once);
    expect(tokens(ids.slice(4))).toEqual(once);
    expect(ids.slice(0, 4)).not.toEqual(ids.slice(4));
  });

  test('accumulated micro-batches weigh by labelled tokens: the step of one large batch', async () => {
    const small = await collect(kitFor().train(request({ length: { steps: 1 }, batchSize: 2, accumulate: 4 })));
    const large = await collect(kitFor().train(request({ length: { steps: 1 }, batchSize: 7 })));
    numbers(small.result.params).forEach((value, i) => expect(value).toBeCloseTo(numbers(large.result.params)[i]!, 6));
    expect(small.result.loss).toBeCloseTo(large.result.loss, 6);
    expect(small.yielded[0]!.tokens).toBe(large.yielded[0]!.tokens);
  });

  test('one micro-batch is used as it is, to the bit', async () => {
    const only = { ...client, train: client.train.slice(0, 1) };
    const { result } = await collect(
      kitFor({ client: only }).train(request({ length: { steps: 1 }, optimizer: sgd({ rate: 1 }) })),
    );
    const { gradients } = await fakeEngine(layout).step(from.factors, pack(only.train), 'AB');
    expect(sameBits(result.params, addScaled(from.factors, scale(gradients, -1), 1))).toBe(true);
  });

  test('only what the parametrisation moves changes', async () => {
    const { result } = await collect(kitFor().train(request({ parametrisation: onlyB() })));
    for (const [name, { data }] of result.adapter.factors) {
      const changed = data.some((value, i) => value !== from.factors.get(name)!.data[i]);
      expect(changed, name).toBe(name.endsWith('lora_B'));
    }
  });

  test('correct sees the gradient before the optimizer; afterStep the params and the schedule’s step', async () => {
    const seen: number[] = [];
    const { result } = await collect(
      kitFor().train(
        request({
          length: { steps: 2 },
          correct: (gradients) => zerosLike(gradients),
          afterStep: (params, step) => {
            seen.push(step);
            return scale(params, 0.5);
          },
        }),
      ),
    );
    expect(seen).toEqual([0, 1]);
    expect(sameBits(result.params, scale(scale(from.factors, 0.5), 0.5))).toBe(true);
  });

  test('going on with params and optimizer state equals one longer training', async () => {
    const optimizer = adamw({ rate: 0.01 });
    const all = { batchSize: 7, optimizer };
    const whole = await collect(kitFor().train(request({ ...all, length: { steps: 4 } })));
    const first = await collect(kitFor().train(request({ ...all, length: { steps: 2 } })));
    const { params, optimizerState } = first.result;
    const second = await collect(kitFor().train(request({ ...all, length: { steps: 2 }, params, optimizerState })));
    numbers(second.result.params).forEach((value, i) => expect(value).toBeCloseTo(numbers(whole.result.params)[i]!, 6));
  });

  test('a schedule begins anew with each task, though its optimizer goes on', async () => {
    const asked: number[] = [];
    const rate = (step: number): number => {
      asked.push(step);
      return 0.1 * (1 - step / 3);
    };
    for (const step of [adamw({ rate }), sgd({ rate })]) {
      asked.length = 0;
      const task = { length: { steps: 3 }, optimizer: chain(clipByGlobalNorm(1), step) };
      const { params, optimizerState } = (await collect(kitFor().train(request(task)))).result;
      await collect(kitFor({ round: 1 }).train(request({ ...task, params, optimizerState })));
      expect(asked).toEqual([0, 1, 2, 0, 1, 2]);
    }
  });

  test('the best state on validation is kept', async () => {
    // Validation wants 0 (token 0), training pulls away from it: the earliest evaluated step is the best.
    const pulled: ClientData = {
      ...client,
      train: [row('t', [1, 8, 8])],
      validation: [row('v', [1, 0])],
    };
    const kept = await collect(
      kitFor({ client: pulled }).train(request({ length: { steps: 6 }, keepBest: { every: 2 } })),
    );
    const two = await collect(kitFor({ client: pulled }).train(request({ length: { steps: 2 } })));
    expect(sameBits(kept.result.params, two.result.params)).toBe(true);
    expect(kept.result.optimizerState).toEqual(two.result.optimizerState);
    expect(kept.result.steps).toBe(6);
    // The other way round the last state is the best, though 5 is no multiple of 2.
    const towards: ClientData = { ...pulled, validation: [row('v', [1, 8])] };
    const last = await collect(
      kitFor({ client: towards }).train(request({ length: { steps: 5 }, keepBest: { every: 2 } })),
    );
    const five = await collect(kitFor({ client: towards }).train(request({ length: { steps: 5 } })));
    expect(sameBits(last.result.params, five.result.params)).toBe(true);
  });

  test('keeping the best needs validation rows', async () => {
    const none = { ...client, validation: [] };
    await expect(collect(kitFor({ client: none }).train(request({ keepBest: { every: 1 } })))).rejects.toThrow(
      new UserError(
        'client “a” has no validation rows, so the best state on validation cannot be kept: hold some out (clients.split.validation), or leave train.keepBest off',
      ),
    );
  });
});

describe('what stops training', () => {
  test('a NaN loss, with its step', async () => {
    const poisoned = { ...client, train: [row('bad', [1, POISON])] };
    const error = await collect(kitFor({ client: poisoned }).train(request())).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(NonFinite);
    expect(error).toMatchObject({ step: 1, tensor: undefined });
    expect((error as Error).message).toContain('the loss is NaN in step 1');
  });

  test('an infinite gradient, with its tensor', async () => {
    const engine = fakeEngine(layout);
    const name = `${layout.modules[1]!.name}.lora_B`;
    let calls = 0;
    const step: Engine['step'] = async (...args) => {
      const result = await engine.step(...args);
      if (++calls === 3) result.gradients.get(name)!.data[1] = Infinity;
      return result;
    };
    await expect(collect(kitFor({ engine: { ...engine, step } }).train(request()))).rejects.toMatchObject({
      name: 'NonFinite',
      step: 3,
      tensor: name,
    });
  });

  test('params that overflow', async () => {
    await expect(
      collect(kitFor().train(request({ optimizer: sgd({ rate: 1e30 }), length: { steps: 9 } }))),
    ).rejects.toMatchObject({ name: 'NonFinite', step: 2 });
  });

  test('the signal, before the next micro-batch', async () => {
    const control = new AbortController();
    const { engine, ids } = spied();
    const training = kitFor({ engine, signal: control.signal }).train(request({ length: { steps: 100 } }));
    await training.next();
    await training.next();
    control.abort(new Error('enough'));
    await expect(training.next()).rejects.toThrow('enough');
    expect(ids).toHaveLength(2);
  });

  test('no training rows', async () => {
    await expect(collect(kitFor({ client: { ...client, train: [] } }).train(request()))).rejects.toThrow(
      new UserError('client “a” has no training rows'),
    );
  });
});

describe('random draws', () => {
  const batchesOf = async (more: Partial<WorkContext>): Promise<number[][]> => {
    const { engine, ids } = spied();
    await collect(kitFor({ ...more, engine }).train(request()));
    return ids;
  };

  test('batches repeat, and depend on seed, stage, round and client', async () => {
    const usual = await batchesOf({});
    expect(await batchesOf({})).toEqual(usual);
    const changes: Partial<WorkContext>[] = [
      { seed: 6 },
      { stage: 't' },
      { round: 1 },
      { draw: 4 },
      { client: { ...client, id: 'b' } },
    ];
    for (const change of changes) expect(await batchesOf(change)).not.toEqual(usual);
    // A stage that is repeated goes on counting.
    expect(await batchesOf({ round: 0, draw: 4 })).toEqual(await batchesOf({ round: 4 }));
  });
});
