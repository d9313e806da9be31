import { assert, constantFrom, double, integer, property, record } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addSums, toScore, type Sums } from '../../../evaluate/sums.ts';
import { sumsSchema } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import { requireSums } from './check-sums.ts';

const data = { train: 3, validation: 4, test: 10, labelledTokens: 100 };
const description = { config: { data: { maxLength: 16 } } };
const good: Sums = { nll: 90, tokens: 60, correct: 33, rows: 10, generated: 8, exact: 2, rougeL: 3.5 };
const check = (more: Partial<Sums>, rows: 'test' | 'validation' = 'test'): void =>
  requireSums({ ...good, ...more }, rows, data, description);

describe('sums of an evaluation', () => {
  test('pass as they come from a client, also of no row', () => {
    check({});
    check({ exact: 8, rougeL: 8 });
    check({ nll: 0, tokens: 0, correct: 0, rows: 0, generated: 0, exact: 0, rougeL: 0 });
    requireSums(null, 'test', data, description);
  });

  test.for<[Partial<Sums>, RegExp]>([
    [{ rows: 11 }, /sums of 11 rows, and you joined with 10 for test/],
    [{ tokens: 2 ** 53 - 1 }, /labelled tokens in 10 rows of at most 16/],
    [{ nll: 1.7e308 }, /is not one/],
    [{ nll: -1 }, /is not one/],
    [{ correct: 61 }, /61 tokens right of 60/],
    [{ generated: 11 }, /11 answers to 10 rows/],
    [{ exact: 9 }, /in 8 answers, of which none has more than 1/],
    [{ rougeL: 8.001 }, /in 8 answers/],
  ])('are refused that no model can have: %j', ([more, why]) => {
    expect(() => check(more)).toThrow(why);
    expect(() => check(more)).toThrow(Refusal);
  });

  test('are held to the rows that were asked for', () => {
    expect(() => check({}, 'validation')).toThrow(/sums of 10 rows, and you joined with 4 for validation/);
  });

  test('stay with the client in a private run', () => {
    const silent = { config: { ...description.config, guards: [{ use: 'privacy' }] } };
    expect(() => requireSums(good, 'test', null, silent)).toThrow(/what you score stays with you/);
    requireSums(null, 'test', null, silent);
  });

  test('that pass, of whatever clients, are scores between 0 and 1 and a finite loss', () => {
    const wild = constantFrom(0, 1, 9, 10, 11, 160, 161, 2 ** 53 - 1);
    const amount = double({ min: 0, noNaN: true, noDefaultInfinity: true });
    const sums = record({
      nll: double({ noNaN: true, noDefaultInfinity: true }),
      tokens: wild,
      correct: wild,
      rows: integer({ min: 0, max: 12 }),
      generated: wild,
      exact: amount,
      rougeL: amount,
    });
    const passes = (one: Sums): boolean => {
      if (!sumsSchema.safeParse(one).success || one.tokens === 0) return false;
      try {
        requireSums(one, 'test', data, description);
        return true;
      } catch {
        return false;
      }
    };
    let passed = 0;
    assert(
      property(sums, sums, (a, b) => {
        const kept = [good, a, b].filter(passes);
        passed += kept.length - 1;
        const { loss, tokenAccuracy, exactMatch = 0, rougeL = 0 } = toScore(kept.reduce(addSums));
        expect(loss).toBeLessThanOrEqual(1e6);
        expect(loss).toBeGreaterThanOrEqual(0);
        for (const share of [tokenAccuracy, exactMatch, rougeL]) {
          expect(share).toBeGreaterThanOrEqual(0);
          expect(share).toBeLessThanOrEqual(1 + 1e-9);
        }
      }),
      { numRuns: 5000, seed: 1 },
    );
    expect(passed).toBeGreaterThan(0);
  });
});
