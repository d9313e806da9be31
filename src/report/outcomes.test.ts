import { expect, it } from 'vitest';
import { summaryFixture } from '../../tests/summary-fixture.ts';
import { outcomeTable } from './outcomes.ts';
import type { Summary } from './summary.ts';

const fixture = summaryFixture({ methods: 4, clients: 8 });
const columnOf = (summary: Summary, name: string) => {
  const { head, rows } = outcomeTable(summary);
  return rows.map((row) => row[head.indexOf(name)]);
};

it('has a line for the base and every model that a method makes', () => {
  expect(columnOf(fixture, 'model')).toEqual([
    'base model',
    'FedLoRA-Optimizer: global',
    'FedLoRA-Optimizer: personal',
    'FedIT: global',
    'FedIT + local: global',
    'FedIT + local: personal',
    'local only: personal',
  ]);
});

it('gives the worst of eight clients and the variance', () => {
  const losses = Object.values(fixture.methods[1]!.global.clients).map(({ loss }) => loss);
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / 8;
  const variance = losses.reduce((sum, loss) => sum + loss * loss, 0) / 8 - mean * mean;
  expect(columnOf(fixture, 'worst 10 % of clients')[3]).toBe(Math.max(...losses).toFixed(3));
  expect(Number(columnOf(fixture, 'variance over clients')[3])).toBeCloseTo(variance, 3);
});

it('names clients that are worse off than the base, and than alone where that was measured', () => {
  const [id, score] = Object.entries(fixture.methods[1]!.global.clients)[2]!;
  const base = { ...fixture.base, clients: { ...fixture.base.clients, [id]: { ...score, loss: score.loss - 1e-6 } } };
  expect(columnOf({ ...fixture, base }, 'worse than base')[3]).toBe(`1 of 8: ${id}`);
  expect(columnOf(fixture, 'worse than base')[0]).toBe('–');
  const alone = fixture.methods[3]!.personal!.clients;
  const worse = Object.entries(fixture.methods[0]!.personal!.clients).filter(
    ([client, { loss }]) => loss > alone[client]!.loss,
  );
  expect(columnOf(fixture, 'worse than local only')[2]).toMatch(new RegExp(`^${worse.length} of 8`));
  expect(columnOf(fixture, 'worse than local only').at(-1)).toBe('–');
  const without = { ...fixture, methods: fixture.methods.slice(0, 3) };
  expect(outcomeTable(without).head).not.toContain('worse than local only');
});
