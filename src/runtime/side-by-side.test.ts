import { expect, test } from 'vitest';
import { sideBySide } from './side-by-side.ts';

const groups: string[] = [];
const double = sideBySide(3, async (key: string, requests: readonly number[]) => {
  groups.push(`${key}:${requests.join()}`);
  await new Promise((resolve) => setTimeout(resolve, 1));
  if (key === 'broken') throw new Error('no');
  return requests.map((x): PromiseSettledResult<number> =>
    x < 0 ? { status: 'rejected', reason: new Error(`negative ${x}`) } : { status: 'fulfilled', value: 2 * x },
  );
});

test('calls at once go together by key, in order, at most so many', async () => {
  groups.length = 0;
  const calls = [double('a', 1), double('b', 2), double('a', 3), double('a', 4), double('a', 5)];
  expect(await Promise.all(calls)).toEqual([2, 4, 6, 8, 10]);
  expect(groups).toEqual(['a:1,3,4', 'b:2', 'a:5']);
});

test('calls one after the other go alone', async () => {
  groups.length = 0;
  for (const x of [1, 2]) expect(await double('a', x)).toBe(2 * x);
  expect(groups).toEqual(['a:1', 'a:2']);
});

test('one failure is that call’s alone, a failed run is the failure of all in it, and later calls go on', async () => {
  const results = await Promise.allSettled([double('a', 1), double('a', -1), double('broken', 1), double('broken', 2)]);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'rejected']);
  expect((results[1] as PromiseRejectedResult).reason).toEqual(new Error('negative -1'));
  expect(await double('a', 7)).toBe(14);
});
