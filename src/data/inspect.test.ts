import { expect, it } from 'vitest';
import { byteTokenizer } from '../../tests/support/byte-tokenizer.ts';
import { describeRow } from './describe.ts';
import { inspectDataset, quantiles } from './inspect.ts';
import { dollyRow } from './dolly.ts';
import { gather } from './rows.ts';
import { createTemplate } from './template.ts';

it('counts values, measures lengths and shows the first example', () => {
  const rows = gather();
  ['a', 'b', 'b', 'c', 'b'].forEach((category, i) => {
    const response = i === 1 ? '' : 'r'.repeat(i + 1);
    rows.add(
      dollyRow({ instruction: 'ask', response, category, ...(i === 0 && { note: 'first' }) }, String(i), 'x'),
      'x',
    );
  });
  const data = rows.done('x');
  const facts = inspectDataset(data, createTemplate({ template: 'plain', maxLength: 8 }, byteTokenizer()), 2);
  expect(facts).toEqual({
    rows: 5,
    usable: 4,
    dropped: { 'empty response': 1 },
    columns: [
      {
        name: 'category',
        rows: 4,
        distinct: 3,
        values: [
          { value: 'b', rows: 2 },
          { value: 'a', rows: 1 },
        ],
      },
      { name: 'note', rows: 1, distinct: 1, values: [{ value: 'first', rows: 1 }] },
    ],
    promptCharacters: { min: 3, p25: 3, median: 3, p75: 3, p95: 3, max: 3 },
    responseCharacters: { min: 1, p25: 1, median: 3, p75: 4, p95: 5, max: 5 },
    tokenised: {
      // ask, line break, r × 1, 3, 4, 5, end: 6, 8, 9 and 10 tokens, of which 8 stay.
      tokens: { min: 6, p25: 6, median: 8, p75: 8, p95: 8, max: 8 },
      truncated: 2,
      dropped: 0,
      first: {
        id: '0',
        ids: Int32Array.of(97, 115, 107, 10, 114, 257),
        labelled: Uint8Array.of(0, 0, 0, 0, 1, 1),
      },
    },
    first: data.examples[0],
  });
  expect(inspectDataset(data)).not.toHaveProperty('tokenised');
});

it('takes quantiles by nearest rank', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(quantiles(hundred)).toEqual({ min: 1, p25: 25, median: 50, p75: 75, p95: 95, max: 100 });
  expect(quantiles([7])).toEqual({ min: 7, p25: 7, median: 7, p75: 7, p95: 7, max: 7 });
});

it('describes a row as runs of masked and learned text', () => {
  const tokenizer = byteTokenizer();
  const row = {
    id: 'x',
    ids: Int32Array.from([256, ...tokenizer.encode('Grüße'), 257, 97]),
    labelled: Uint8Array.of(0, 0, 0, 1, 1, 1, 1, 1, 1, 0),
  };
  expect(describeRow(row, tokenizer)).toEqual([
    { text: '<s>Gr', labelled: false, tokens: 3 },
    { text: 'üße<|end|>', labelled: true, tokens: 6 },
    { text: 'a', labelled: false, tokens: 1 },
  ]);
});
