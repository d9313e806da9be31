import { expect, it } from 'vitest';
import { sweepFixture } from '../../tests/sweep-fixture.ts';
import { equalityOf } from './equality.ts';
import { equalitySentences } from './words.ts';

const results = sweepFixture({ methods: 3, seeds: [1, 2] });
const withTokens = (tokens: readonly number[]) => ({
  ...results,
  cells: results.cells.map((cell) => ({
    ...cell,
    method: { ...cell.method, labelledTokens: tokens[results.arms.findIndex(({ label }) => label === cell.arm)]! },
  })),
});
const work = (tokens: readonly number[]) => equalityOf(withTokens(tokens)).spreads[0]!;

it('calls work equal up to 5 % more', () => {
  expect(work([100, 104, 105])).toMatchObject({ quantity: 'labelledTokens', equal: true, least: { value: 100 } });
  expect(work([100, 104, 106])).toMatchObject({ equal: false, most: { value: 106, label: 'FedIT + local' } });
  expect(work([0, 0, 1]).equal).toBe(false);
  expect(work([0, 0, 0]).equal).toBe(true);
});

it('counts bytes per client, tries and tuning runs', () => {
  const [optimizer, fedit] = equalityOf(results).costs;
  // The fixture's rounds: 8 of 1.84 MB up and 4 of 0.8 MB; 12 of 1.84 MB.
  expect(optimizer).toMatchObject({ up: 8 * 1.84e6 + 4 * 0.8e6, down: 12 * 1.84e6, tries: 4, tuningRuns: 8, seeds: 2 });
  expect(fedit).toMatchObject({ up: 12 * 1.84e6, labelledTokens: 12 * 410 * 8 });
});

it('finds seeds in which an arm had another base model or other rows, and seeds that an arm lacks', () => {
  expect(equalityOf(results)).toMatchObject({ differentBase: [], missing: [] });
  const [first, ...rest] = results.cells;
  const [id, score] = Object.entries(first!.base.clients)[0]!;
  const base = { ...first!.base, clients: { ...first!.base.clients, [id]: { ...score, loss: score.loss + 1e-12 } } };
  expect(equalityOf({ ...results, cells: [{ ...first!, base }, ...rest] }).differentBase).toEqual([1]);
  expect(equalityOf({ ...results, cells: rest }).missing).toEqual([{ label: 'FedLoRA-Optimizer', seeds: [1] }]);
});

it('says all that in plain sentences', () => {
  const found = equalitySentences(equalityOf(withTokens([100, 104, 100])));
  expect(found[0]).toBe('Work (labelled tokens through forward and backward): equal to within 4.0 %.');
  expect(found[1]).toBe('Bytes sent up per client: not equal, from 17.9 MB (FedLoRA-Optimizer) to 22.1 MB (FedIT).');
  expect(found[3]).toBe('Tuning budget (values tried): the same in every arm.');
  expect(found.at(-1)).toMatch(/^Base model and test rows: the same within every seed/);
  const other = equalitySentences({
    ...equalityOf(results),
    differentBase: [2],
    missing: [{ label: 'x', seeds: [3] }],
  });
  expect(other.slice(-2)).toEqual([
    'Base model and test rows: not the same for all arms with seed 2. Their differences mean nothing.',
    'x: no result yet with seed 3.',
  ]);
  const untuned = sweepFixture({ methods: 2, tuned: false });
  expect(equalitySentences(equalityOf(untuned))).toContain('Tuning budget (values tried): none in any arm.');
});
