import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { merge } from './merge.ts';

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

test('one at a time, it is concatenation', async () => {
  async function* count(name: string, n: number): AsyncGenerator<string, void> {
    for (let i = 0; i < n; i++) yield `${name}${i}`;
  }
  const seen: string[] = [];
  for await (const value of merge([count('a', 2), count('b', 0), count('c', 1)], 1)) seen.push(value);
  expect(seen).toEqual(['a0', 'a1', 'c0']);
});

test('never more at once than the limit, and the next starts as one ends', async () => {
  let now = 0;
  let most = 0;
  async function* work(name: string, ms: number): AsyncGenerator<string, void> {
    most = Math.max(most, ++now);
    await pause(ms);
    yield name;
    now--;
  }
  const seen: string[] = [];
  for await (const value of merge([work('slow', 60), work('quick', 1), work('third', 1)], 2)) seen.push(value);
  expect(seen).toEqual(['quick', 'third', 'slow']);
  expect(most).toBe(2);
});

test('a busy generator starves no other', async () => {
  async function* count(name: string): AsyncGenerator<string, void> {
    for (let i = 0; i < 50; i++) yield name;
  }
  const seen: string[] = [];
  for await (const value of merge([count('a'), count('b')], 2)) seen.push(value);
  expect(seen.slice(0, 40).filter((value) => value === 'b').length).toBeGreaterThan(15);
});

test('an error ends all, and so does leaving the loop', async () => {
  const closed: string[] = [];
  async function* endless(name: string): AsyncGenerator<string, void> {
    try {
      for (;;) {
        yield name;
        await pause(1);
      }
    } finally {
      closed.push(name);
    }
  }
  async function* failing(): AsyncGenerator<string, void> {
    yield await pause(5).then(() => Promise.reject(new Error('broken')));
  }
  const all = async (): Promise<void> => {
    for await (const _ of merge([endless('a'), failing()], 2));
  };
  await expect(all()).rejects.toThrow('broken');
  for await (const _ of merge([endless('b')], 1)) break;
  await pause(10);
  expect(closed.sort()).toEqual(['a', 'b']);
});

test('holds nothing that was taken while another source is slow', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let go = (): void => undefined;
  async function* slow(): AsyncGenerator<object, void> {
    await new Promise<void>((done) => (go = done));
    yield {};
  }
  const given: WeakRef<object>[] = [];
  async function* quick(): AsyncGenerator<object, void> {
    for (let i = 0; i < 5; i++) {
      given.push(new WeakRef({ i }));
      yield given[i]!.deref()!;
    }
  }
  const merged = merge([slow(), quick()], 2);
  for (let i = 0; i < 5; i++) await merged.next();
  const last = merged.next();
  await pause(5);
  collect();
  expect(given.slice(0, 4).filter((one) => one.deref() !== undefined)).toEqual([]);
  go();
  expect(await last).toEqual({ done: false, value: {} });
});
