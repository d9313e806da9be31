import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ClientUpdate } from '../methods/stage.ts';
import { sameBits, tensor } from '../tensor/tensors.ts';
import { weightedSum } from '../tensor/weighted.ts';
import { alike, combinerOf, each, sum, updateProblem } from './combine.ts';

const numbers = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }), {
  minLength: 3,
  maxLength: 3,
});
const updates = fc
  .array(fc.record({ a: numbers, b: numbers, weight: fc.integer({ min: 1, max: 1000 }) }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((parts) =>
    parts.map(({ a, b, weight }, i): ClientUpdate => ({
      client: `c${i}`,
      weight,
      update: new Map([
        ['a', tensor([3], a)],
        ['b', tensor([1, 3], b)],
      ]),
    })),
  );

test('the running sum has the bits of weightedSum over all updates', () => {
  fc.assert(
    fc.property(updates, (all) => {
      const combiner = sum();
      for (const update of all) combiner.add(update);
      const { combined, clients, misfits } = combiner.finish()!;
      if (combined.kind !== 'sum') throw new Error('not a sum');
      expect(sameBits(combined.sum, weightedSum(all.map(({ update, weight }) => ({ tensors: update, weight }))))).toBe(
        true,
      );
      expect(combined.weight).toBe(all.reduce((total, { weight }) => total + weight, 0));
      expect([combined.clients, clients, misfits]).toEqual([all.length, all.map(({ client }) => client), []]);
    }),
  );
});

test('each keeps the updates as they are, in order', () => {
  fc.assert(
    fc.property(updates, (all) => {
      const combiner = each();
      for (const update of all) combiner.add(update);
      expect(combiner.finish()).toEqual({
        combined: { kind: 'each', updates: all },
        clients: all.map(({ client }) => client),
        misfits: [],
      });
    }),
  );
});

test('nothing in, nothing out', () => {
  expect(sum().finish()).toBeUndefined();
  expect(each().finish()).toBeUndefined();
  expect(combinerOf('none')).toBeUndefined();
});

test('updates of other names or shapes than most clients’ are misfits, with what differs', () => {
  const combiner = sum();
  const one = (client: string, shape: number[]): ClientUpdate => ({
    client,
    weight: 2,
    update: new Map([['x', tensor(shape, new Float32Array([1, 2]))]]),
  });
  combiner.add(one('a', [1, 2]));
  combiner.add(one('b', [2]));
  combiner.add(one('c', [2]));
  const { combined, clients, misfits } = combiner.finish()!;
  expect(clients).toEqual(['b', 'c']);
  expect(combined).toMatchObject({ kind: 'sum', weight: 4, clients: 2 });
  expect(combined.kind === 'sum' && [...combined.sum.get('x')!.data]).toEqual([4, 8]);
  expect(misfits).toEqual([
    {
      client: 'a',
      reason: expect.stringContaining('tensor "x" has shape [2] in the first and [1, 2] in the second') as string,
    },
  ]);
});

test('updates that may not be used are named with what is wrong', () => {
  const sent = new Map([['x', tensor([2], [0, 0])]]);
  const problem = (data: number[], shape: number[], weight = 1): string | undefined =>
    updateProblem({ update: new Map([['x', { shape, data: Float32Array.from(data) }]]), weight }, sent);
  expect(problem([1, 2], [2])).toBeUndefined();
  expect(problem([1, NaN], [2])).toBe('tensor “x” of its update holds NaN or infinity');
  expect(problem([1, -Infinity], [2])).toBe('tensor “x” of its update holds NaN or infinity');
  expect(problem([1, 2, 3], [3])).toBe('tensor “x” of its update has shape [3], and the one it was sent [2]');
  expect(problem([1, 2, 3], [2])).toBe('tensor “x” of its update holds 3 numbers, which is not shape [2]');
  for (const weight of [0, -1, NaN, Infinity]) {
    expect(problem([1, 2], [2], weight)).toBe(`its update has weight ${weight}, which is not a positive number`);
  }
});

test('a number that is not finite is found wherever it is, and no other is taken for one', () => {
  const extremes = fc.constantFrom(3.4028234663852886e38, -3.4028234663852886e38, 1e-45, -0, 0);
  const finite = fc.oneof(fc.float({ noNaN: true, noDefaultInfinity: true }), extremes);
  const data = fc.array(finite, { maxLength: 9 });
  fc.assert(
    fc.property(data, fc.constantFrom(NaN, Infinity, -Infinity), data, (before, bad, after) => {
      const problem = (numbers: number[]): string | undefined =>
        updateProblem({ update: new Map([['x', tensor([numbers.length], numbers)]]), weight: 1 }, new Map());
      expect(problem([...before, ...after])).toBeUndefined();
      expect(problem([...before, bad, ...after])).toBe('tensor “x” of its update holds NaN or infinity');
    }),
  );
});

test('alike keeps the updates that most clients agree on in names and shapes, in order, and tells of the others', () => {
  const update = (client: string, shape: number[], name = 'a'): ClientUpdate => ({
    client,
    weight: 1,
    update: new Map([[name, tensor(shape, new Float32Array(shape.reduce((a, b) => a * b, 1)))]]),
  });
  const all = [update('c0', [2]), update('c1', [3]), update('c2', [3]), update('c3', [3], 'b')];
  const combiner = alike();
  for (const each of all) combiner.add(each);
  const { combined, clients, misfits } = combiner.finish()!;
  expect(combined).toEqual({ kind: 'each', updates: [all[1], all[2]] });
  expect(clients).toEqual(['c1', 'c2']);
  expect(misfits.map(({ client }) => client)).toEqual(['c0', 'c3']);
  expect(misfits[0]!.reason).toContain('does not fit that of 2 other client(s)');
  expect(alike().finish()).toBeUndefined();
});
