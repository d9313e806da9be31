import { expect, test } from 'vitest';
import { collect } from '../../tests/support/collect.ts';
import { fakeClient, fakeEngine, labelledOf, POISON, row } from '../../tests/support/fake-engine.ts';
import { from, kitsOf, layout, meanGoal } from '../../tests/support/fake-kit.ts';
import { directionOfA } from '../lora/direction.ts';
import { factors } from '../lora/factors.ts';
import type { WorkContext } from './context.ts';

const client = fakeClient('a', 9, 2);
const kitFor = kitsOf(client);
const plain = { from, parametrisation: factors(), params: from.factors } as const;

test('over all rows it is the token-mean gradient, whatever the batch size', async () => {
  const mean = meanGoal(client.train);
  for (const batchSize of [1, 2, 4, 9, 100]) {
    const { yielded, result } = await collect(kitFor().gradient({ ...plain, rows: 'all', batchSize }));
    for (const [name, { data }] of result.gradients) {
      const f = from.factors.get(name)!.data;
      data.forEach((value, i) => expect(value).toBeCloseTo(f[i]! - mean, 6));
    }
    expect(result.tokens).toBe(labelledOf(client.train).length);
    expect(yielded).toHaveLength(Math.ceil(9 / batchSize));
    expect(yielded.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(result.tokens);
    expect(result.loss).toBeCloseTo(
      yielded.reduce((sum, { loss, tokens }) => sum + loss * tokens, 0) / result.tokens,
      8,
    );
  }
});

test('clients’ gradients, weighted by labelled tokens, add up to that of the pooled rows', async () => {
  const other = fakeClient('b', 4, 5);
  const pooled = { ...client, train: [...client.train, ...other.train] };
  const parametrisation = directionOfA({ axis: 'column' });
  const request = { from, parametrisation, params: parametrisation.at(from).init, rows: 'all', batchSize: 3 } as const;
  const [a, b, all] = await Promise.all(
    [client, other, pooled].map(async (data) => (await collect(kitFor({ client: data }).gradient(request))).result),
  );
  expect(all!.tokens).toBe(a!.tokens + b!.tokens);
  for (const [name, { data }] of all!.gradients) {
    data.forEach((value, i) => {
      const mixed =
        (a!.tokens * a!.gradients.get(name)!.data[i]! + b!.tokens * b!.gradients.get(name)!.data[i]!) / all!.tokens;
      expect(value).toBeCloseTo(mixed, 6);
    });
  }
});

test('a number of rows is a draw without repeating, new each round, the same again', async () => {
  const seen = async (more: Partial<WorkContext>, rows: number): Promise<string> => {
    const engine = fakeEngine(layout);
    const lengths: string[] = [];
    const step: typeof engine.step = (factors, batch, want) => {
      lengths.push([...batch.ids].join(' '));
      return engine.step(factors, batch, want);
    };
    await collect(kitFor({ ...more, engine: { ...engine, step } }).gradient({ ...plain, rows, batchSize: 1 }));
    return lengths.sort().join('; ');
  };
  const usual = await seen({}, 4);
  expect(usual.split('; ')).toHaveLength(4);
  expect(new Set(usual.split('; ')).size).toBe(4);
  expect(await seen({}, 4)).toBe(usual);
  expect(await seen({ round: 1 }, 4)).not.toBe(usual);
  // No more than there are: then all of them.
  const all = await collect(kitFor().gradient({ ...plain, rows: 50, batchSize: 9 }));
  expect(all.result.tokens).toBe(labelledOf(client.train).length);
});

test('labelled tokens and examples are counted on the training rows', () => {
  const kit = kitFor();
  expect([kit.client, kit.examples, kit.labelledTokens]).toEqual(['a', 9, labelledOf(client.train).length]);
});

test('a poisoned row stops it, and so does the signal', async () => {
  const poisoned = { ...client, train: [row('good', [1, 2, 3]), row('bad', [1, POISON])] };
  await expect(
    collect(kitFor({ client: poisoned }).gradient({ ...plain, rows: 'all', batchSize: 1 })),
  ).rejects.toMatchObject({ name: 'NonFinite', step: 2 });
  const signal = AbortSignal.abort(new Error('enough'));
  await expect(collect(kitFor({ signal }).gradient({ ...plain, rows: 'all', batchSize: 1 }))).rejects.toThrow('enough');
});
