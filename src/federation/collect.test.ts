import { expect, test } from 'vitest';
import { layout } from '../../tests/support/federation.ts';
import { averaging } from '../../tests/support/stages.ts';
import { collector } from './collect.ts';
import type { Round } from './round.ts';
import type { Outcome } from './task.ts';

test('the turn of an update comes shortly before it is summed, and those who fail hold nobody up', async () => {
  const clients = Array.from({ length: 12 }, (_, i) => `client-${String(i).padStart(2, '0')}`);
  const updates = collector(
    { stage: averaging(layout, { rounds: 1, steps: 1 }) } as unknown as Round,
    clients,
    undefined,
  );
  const had: string[] = [];
  for (const client of clients) void updates.turn(client).then(() => had.push(client));
  const outcome = (client: string, value: number): Outcome => ({
    client,
    update: new Map([['x', { shape: [1], data: Float32Array.of(value) }]]),
    weight: 1,
    failure: undefined,
    tokens: 0,
    processed: 0,
    lossSum: 0,
    seconds: 0,
  });
  const settled = async (): Promise<number> => {
    await new Promise((done) => setImmediate(done));
    return had.length;
  };
  // The first and four ahead of it.
  expect(await settled()).toBe(5);
  for (const [i, client] of clients.slice(1, 5).entries()) updates.collect(client, outcome(client, i + 2));
  expect(await settled()).toBe(5);
  updates.collect(clients[0]!, outcome(clients[0]!, 1));
  expect(await settled()).toBe(10);
  updates.collect(clients[5]!, undefined);
  expect(await settled()).toBe(11);
  for (const client of clients.slice(6)) updates.collect(client, undefined);
  expect(await settled()).toBe(12);
  const combined = (await updates.finish())?.combined;
  if (combined?.kind !== 'sum') throw new Error('this is no sum');
  expect([combined.weight, ...combined.sum.get('x')!.data]).toEqual([5, 1 + 2 + 3 + 4 + 5]);
});
