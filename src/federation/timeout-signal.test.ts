import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { timeoutSignal } from './timeout-signal.ts';

test('a limit that only AbortSignal.any knows comes, also after garbage was collected', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const other = new AbortController();
  const came: unknown[] = [];
  const wait = (signal: AbortSignal): void => {
    const both = AbortSignal.any([other.signal, signal]);
    both.addEventListener('abort', () => came.push(both.reason));
  };
  for (let i = 0; i < 20; i++) wait(timeoutSignal(200));
  for (let i = 0; i < 5; i++) {
    await setTimeout(20);
    collect();
  }
  await setTimeout(400);
  expect(came).toHaveLength(20);
  expect((came[0] as Error).name).toBe('TimeoutError');
});
