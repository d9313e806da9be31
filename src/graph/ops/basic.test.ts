import { expect, test } from 'vitest';
import { checkGradients, floats } from '../../../tests/finite-differences.ts';
import { sumAll } from '../../../tests/support/sum-all.ts';
import { add, mul, once } from './basic.ts';

test('add, also of a value to itself', async () => {
  const feeds = { x: floats([2, 3], 1), y: floats([2, 3], 2) };
  const sum = await checkGradients((g, [x, y]) => add(g, add(g, x!, y!), x!), feeds);
  expect(sum.data[4]).toBeCloseTo(2 * (feeds.x.data[4] as number) + (feeds.y.data[4] as number), 6);
});

test('mul, also of a value with itself', async () => {
  const feeds = { x: floats([2, 3], 1), y: floats([2, 3], 2) };
  const product = await checkGradients((g, [x, y]) => mul(g, mul(g, x!, x!), y!), feeds);
  expect(product.data[4]).toBeCloseTo((feeds.x.data[4] as number) ** 2 * (feeds.y.data[4] as number), 6);
});

test('sum of everything', async () => {
  const x = floats([2, 3], 1);
  const sum = await checkGradients((g, [value]) => sumAll(g, value!), { x });
  expect(sum.data[0]).toBeCloseTo(
    [...(x.data as Float32Array)].reduce((total, v) => total + v, 0),
    6,
  );
});

test('once makes its value at the first call only, even an undefined one', () => {
  let calls = 0;
  const get = once(() => {
    calls++;
    return undefined;
  });
  expect([get(), get(), calls]).toEqual([undefined, undefined, 1]);
});
