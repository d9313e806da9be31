import { expect, it } from 'vitest';
import { sweepFixture } from '../../tests/sweep-fixture.ts';
import { meanMatrices } from './mean-matrices.ts';

const results = sweepFixture({ methods: 3, clients: 3, seeds: [1, 2, 3] });

it('averages every cell over seeds, and the global losses that it is compared with', () => {
  const { ids, methods } = meanMatrices(results);
  expect(ids).toEqual(['classification', 'closed_qa', 'open_qa']);
  // FedIT makes no personal models.
  expect(methods.map((method) => method?.label)).toEqual(['FedLoRA-Optimizer', undefined, 'FedIT + local']);
  const own = results.cells.filter(({ arm }) => arm === 'FedIT + local').map(({ method }) => method);
  const average = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  for (const [i, row] of methods[2]!.personal!.matrix!.entries()) {
    expect(methods[2]!.global.clients[ids[i]!]!.loss).toBeCloseTo(
      average(own.map(({ global }) => global.clients[ids[i]!]!.loss)),
      12,
    );
    for (const [j, cell] of row.entries())
      expect(cell).toBeCloseTo(average(own.map(({ personal }) => personal!.matrix![i]![j]!)), 12);
  }
});

it('leaves out a client that lacks a personal model in some seed, arms without a matrix, and clients that differ', () => {
  const [first, ...rest] = results.cells;
  const { personal } = first!.method;
  const gap = {
    ...first!,
    method: { ...first!.method, personal: { ...personal!, matrix: [[], ...personal!.matrix!.slice(1)] } },
  };
  expect(
    meanMatrices({ ...results, cells: [gap, ...rest] }).methods[0]!.personal!.matrix!.map((row) => row.length),
  ).toEqual([0, 3, 3]);
  const { matrix: _, ...without } = personal!;
  const none = { ...first!, method: { ...first!.method, personal: without } };
  expect(meanMatrices({ ...results, cells: [none, ...rest] }).methods[0]).toBeUndefined();
  const other = { ...first!, base: { ...first!.base, clients: { x: first!.base.clients['open_qa']! } } };
  expect(meanMatrices({ ...results, cells: [other, ...rest] })).toEqual({ ids: [], methods: [] });
  expect(meanMatrices({ ...results, cells: [] }).methods).toEqual([undefined, undefined, undefined]);
});
