import { expect, it } from 'vitest';
import { summaryFixture } from '../../tests/summary-fixture.ts';
import { finalTable, qualityTable, toMarkdown, toText, type Table } from './table.ts';

const summary = summaryFixture({ methods: 4, clients: 8 });

it('holds the figures of each method, and a dash where there are none', () => {
  const { head, rows } = finalTable(summary);
  const column = (name: string) => rows.map((row) => row[head.indexOf(name)]);
  expect(column('method')).toEqual(['base model', 'FedLoRA-Optimizer', 'FedIT', 'FedIT + local', 'local only']);
  const [optimizer, fedit, both, local] = summary.methods;
  const losses = [optimizer, fedit, both].map((method) => method!.global.micro.loss.toFixed(3));
  // Clients of the last method shared nothing: its global adapter is the untrained start.
  expect(column('global, pooled')).toEqual([summary.base.micro.loss.toFixed(3), ...losses, '–']);
  expect(column('personal, own rows')).toEqual([
    '–',
    optimizer!.personal!.macro.loss.toFixed(3),
    '–',
    both!.personal!.macro.loss.toFixed(3),
    local!.personal!.macro.loss.toFixed(3),
  ]);
  expect(column('personal, pooled')[1]).toBe(optimizer!.personal!.pooledLoss!.toFixed(3));
  expect(column('labelled tokens')[2]).toBe('39.4k');
  expect(column('up per client')).toEqual(['–', '17.9 MB', '22.1 MB', '18.4 MB', '–']);
});

it('gives shares of right answers, those of generation only where there are any', () => {
  expect(qualityTable(summary).head.length).toBe(7);
  const plain = qualityTable(summaryFixture({ generate: false }));
  expect(plain.head).toEqual(['method', 'token accuracy, global', 'token accuracy, personal']);
  const accuracy = summary.methods[0]!.personal!.macro.tokenAccuracy;
  expect(plain.rows[1]![2]).toBe(`${(100 * accuracy).toFixed(1)} %`);
});

const table: Table = {
  head: ['name of it', 'a number with a long head'],
  right: [false, true],
  rows: [
    ['alpha', '1.5'],
    ['日本', '–'],
    ['x\u001b[2J|*', '22'],
  ],
};

it('is aligned text for a terminal, without what could move the cursor', () => {
  const lines = toText(table).split('\n');
  expect(lines).toEqual([
    '          a number',
    'name of     with a',
    'it       long head',
    '───────  ─────────',
    'alpha          1.5',
    '日本             –',
    'x\ufffd[2J|*         22',
  ]);
});

it('is Markdown with special characters escaped', () => {
  expect(toMarkdown(table).split('\n')).toEqual([
    '| name of it | a number with a long head |',
    '| --- | --: |',
    '| alpha | 1.5 |',
    '| 日本 | – |',
    '| x\ufffd\\[2J\\|\\* | 22 |',
  ]);
});

it('fits a terminal of 100 columns for usual labels', () => {
  for (const line of toText(finalTable(summary)).split('\n')) expect(line.length).toBeLessThanOrEqual(100);
});
