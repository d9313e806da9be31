import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { amountOf, lacking, splitRows } from './split.ts';

const none = (): undefined => undefined;
const rows = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

it('divides rows into three disjoint parts of the amounts asked for', () => {
  const amount = fc.oneof(
    fc.constant(0),
    fc.double({ min: 0.01, max: 0.5, noNaN: true }),
    fc.integer({ min: 1, max: 20 }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 60 }), amount, amount, fc.nat(), (n, validation, test, seed) => {
      const parts = splitRows(rows(n), { validation, test }, none, seed, 'c');
      expect([...parts.train, ...parts.validation, ...parts.test].sort((a, b) => a - b)).toEqual(rows(n));
      const tests = n === 0 ? 0 : Math.min(n, amountOf(test, n, ''));
      expect(parts.test).toHaveLength(tests);
      expect(parts.validation).toHaveLength(n === 0 ? 0 : Math.min(n - tests, amountOf(validation, n, '')));
      expect(splitRows(rows(n), { validation, test }, none, seed, 'c')).toEqual(parts);
    }),
  );
});

it('draws anew for every client and seed', () => {
  const test = (seed: number, client: string): readonly number[] =>
    splitRows(rows(100), { validation: 0, test: 10 }, none, seed, client).test;
  expect(test(1, 'a')).not.toEqual(test(1, 'b'));
  expect(test(1, 'a')).not.toEqual(test(2, 'a'));
});

it('takes the given test rows and draws the validation rows from the others', () => {
  const given = (row: number): string | undefined => (row < 3 ? 'test' : row === 3 ? 'validation' : undefined);
  const parts = splitRows(rows(10), { validation: 2, test: 'given' }, given, 1, 'a');
  expect(parts.test).toEqual([0, 1, 2]);
  expect(parts.validation).toHaveLength(2);
  expect(parts.train).toHaveLength(5);
  expect(splitRows(rows(10), { validation: 'given', test: 0 }, given, 1, 'a')).toEqual({
    test: [],
    validation: [3],
    train: [0, 1, 2, 4, 5, 6, 7, 8, 9],
  });
});

it('reads amounts as shares and as rows', () => {
  expect([0, 0.1, 0.001, 0.26, 1, 7].map((amount) => amountOf(amount, 10, 'k'))).toEqual([0, 1, 1, 3, 1, 7]);
  for (const amount of [1.5, -1, -0.1, NaN])
    expect(() => amountOf(amount, 10, 'clients.split.test'), String(amount)).toThrow(
      'clients.split.test must be a share below 1 or a whole number of rows',
    );
});

it('says what a client lacks', () => {
  const one = { train: [1], validation: [1], test: [1] };
  expect(lacking(one, { validation: 0.1, test: 1 })).toBeUndefined();
  expect(lacking({ ...one, train: [] }, { validation: 0, test: 0 })).toBe('no training row');
  expect(lacking({ ...one, test: [] }, { validation: 0, test: 'given' })).toBe('no test row');
  expect(lacking({ ...one, validation: [] }, { validation: 1, test: 0 })).toBe('no validation row');
  expect(lacking({ ...one, validation: [], test: [] }, { validation: 0, test: 0 })).toBeUndefined();
});
