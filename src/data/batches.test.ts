import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { packRows } from '../../tests/pack.ts';
import { golden } from '../../tests/shared.ts';
import { stream } from '../tensor/random.ts';
import { epoch, evaluationBatches, labelledTokens, pack } from './batches.ts';
import type { TokenRow } from './types.ts';

const row = (id: string, ids: number[], labelled: number[]): TokenRow => ({
  id,
  ids: Int32Array.from(ids),
  labelled: Uint8Array.from(labelled),
});

it('packs rows without padding, labels shifted', () => {
  const batch = pack([row('a', [5, 6, 7], [0, 1, 1]), row('b', [8, 9, 10, 11, 12], [1, 0, 0, 1, 0])]);
  expect(batch).toEqual({
    rows: 2,
    length: 5,
    ids: Int32Array.of(5, 6, 7, 8, 9, 10, 11, 12),
    positions: Int32Array.of(0, 1, 2, 0, 1, 2, 3, 4),
    slots: Int32Array.of(0, 1, 2, 5, 6, 7, 8, 9),
    // Row b's own first token is labelled, but nothing precedes it; row a's last must not predict it.
    labelled: Int32Array.of(0, 1, 5),
    targets: Int32Array.of(6, 7, 11),
  });
});

interface Padded {
  readonly batch: { input_ids: number[][]; attention_mask: number[][]; labels: number[][]; labelled_tokens?: number };
}

it.each(['lora_step_stories260K.json', 'lora_step_smollm2.json'])('packs the batch of %s', (name) => {
  const { batch } = golden<Padded>(name);
  const rows = batch.input_ids.map((ids, r) => {
    const length = batch.attention_mask[r]!.reduce((sum, x) => sum + x, 0);
    return row(
      String(r),
      ids.slice(0, length),
      batch.labels[r]!.slice(0, length).map((label) => (label === -100 ? 0 : 1)),
    );
  });
  expect(pack(rows)).toEqual(packRows(batch));
  const labelled = batch.labels.flat().filter((label) => label !== -100).length;
  expect(rows.reduce((sum, r) => sum + labelledTokens(r), 0)).toBe(labelled);
});

const rowsOf = (lengths: readonly number[]): TokenRow[] =>
  lengths.map((length, i) =>
    row(
      String(i),
      Array.from({ length }, () => i),
      Array.from({ length }, (_, k) => (k > 0 ? 1 : 0)),
    ),
  );
const lengths = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 400 });
const inOrder = (ids: readonly string[]): string[] => [...ids].sort((a, b) => Number(a) - Number(b));

it('takes every row exactly once per epoch, in as few batches as fit', () => {
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 9 }), fc.integer(), (some, size, seed) => {
      const rows = rowsOf(some);
      const batches = epoch(rows, size, stream(seed, 'batches'));
      expect(batches).toHaveLength(Math.ceil(rows.length / size));
      expect(batches.every((batch) => batch.length <= size)).toBe(true);
      expect(inOrder(batches.flat().map(({ id }) => id))).toEqual(rows.map(({ id }) => id));
      expect(epoch(rows, size, stream(seed, 'batches'))).toEqual(batches);
    }),
  );
});

it('puts rows of like length together, in a new order each epoch', () => {
  const random = stream(3, 'lengths');
  const rows = rowsOf(Array.from({ length: 1024 }, () => 1 + random.integer(200)));
  const padded = (batches: readonly (readonly TokenRow[])[]): number =>
    batches.reduce((sum, batch) => sum + batch.length * Math.max(...batch.map(({ ids }) => ids.length)), 0);
  const real = rows.reduce((sum, { ids }) => sum + ids.length, 0);
  const batches = epoch(rows, 8, random);
  // Uniform lengths in random batches of 8 waste (8/9)/(1/2) − 1 = 78 %; sorted windows of 16 batches about 1/16 of that.
  expect(padded(batches) / real).toBeLessThan(1.1);
  expect(batches.map((batch) => batch[0]!.ids.length)).not.toEqual(
    batches.map((batch) => batch[0]!.ids.length).sort((a, b) => a - b),
  );
  expect(epoch(rows, 8, random)).not.toEqual(batches);
});

it('has no batch without rows, and none of size 0', () => {
  expect(epoch([], 2, stream(1, 'x'))).toEqual([]);
  expect(() => epoch(rowsOf([3]), 0, stream(1, 'x'))).toThrow('a batch needs at least 1 row, not 0');
});

it('evaluates every row once, longest first, within its budget of tokens', () => {
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 200 }), (some, tokens) => {
      const rows = rowsOf(some);
      for (const size of [7, { tokens }]) {
        const batches = evaluationBatches(rows, size);
        const ids = batches.flatMap((batch) => [...new Set(batch.ids)].map(String));
        expect(inOrder(ids)).toEqual(rows.map(({ id }) => id));
        expect(batches.map(({ length }) => length)).toEqual(batches.map(({ length }) => length).sort((a, b) => b - a));
        for (const { rows: count, length } of batches) {
          if (typeof size === 'number') expect(count).toBeLessThanOrEqual(size);
          else expect(count === 1 || count * length <= size.tokens).toBe(true);
        }
      }
    }),
  );
});
