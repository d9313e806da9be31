import { expect, test } from 'vitest';
import { checkGradients, floats, runGraph } from '../../../tests/finite-differences.ts';
import { sumAll } from '../../../tests/support/sum-all.ts';
import { gradients } from '../autodiff.ts';
import { Graph } from '../graph.ts';
import { embedding, takeRows } from './rows.ts';

const ids = { ids: { type: 'int32', dims: [6], data: Int32Array.of(2, 0, 2, 4, 2, 0) } } as const;

test('embedding: a token that comes again adds up', async () => {
  const table = floats([5, 3], 1);
  const y = await checkGradients((g, [value]) => embedding(g, value!, g.input('ids', 'int32', ['n'])), { table }, ids);
  expect([...(y.data as Float32Array).subarray(6, 9)]).toEqual([...(table.data as Float32Array).subarray(6, 9)]);
});

test('embedding: thousands of repeats of one id are all counted', async () => {
  const g = new Graph();
  const table = g.input('table', 'float32', [3, 64]);
  const loss = sumAll(g, embedding(g, table, g.input('ids', 'int32', ['n'])));
  g.output('d', gradients(g, loss, [table])[0]!);
  const many = Int32Array.from({ length: 9000 }, (_, i) => (i % 9 === 0 ? 2 : 1));
  const { d } = await runGraph(g, {
    table: floats([3, 64], 1),
    ids: { type: 'int32', dims: [9000], data: many },
  });
  for (let i = 0; i < 64; i++) expect([d?.data[i], d?.data[64 + i], d?.data[128 + i]]).toEqual([0, 8000, 1000]);
});

test('some rows', async () => {
  const x = floats([5, 3], 1);
  const feeds = { rows: { type: 'int32', dims: [2], data: Int32Array.of(3, 1) } } as const;
  const y = await checkGradients((g, [value]) => takeRows(g, value!, g.input('rows', 'int32', ['m'])), { x }, feeds);
  expect([...(y.data as Float32Array)]).toEqual([...x.data.slice(9, 12), ...x.data.slice(3, 6)]);
});
