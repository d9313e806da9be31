import { expect, it } from 'vitest';
import { sweepFixture } from '../../tests/sweep-fixture.ts';
import { outcomeOf } from '../evaluate/outcomes.ts';
import { armOutcomes } from './client-outcomes.ts';
import { outcomesTable } from './sweep-table.ts';

const results = sweepFixture({ methods: 4, seeds: [1, 2, 3] });
const cell = (arm: string, seed: number) => results.cells.find((one) => one.arm === arm && one.seed === seed)!;
const outcomes = armOutcomes(results);

it('has a line per arm and kind of model that it makes', () => {
  expect(outcomes.map(({ label, model }) => `${label}: ${model}`)).toEqual([
    'FedLoRA-Optimizer: personal',
    'FedLoRA-Optimizer: global',
    'FedIT: global',
    'FedIT + local: personal',
    'FedIT + local: global',
    'local only: personal',
  ]);
});

it('averages over seeds what each seed gives, beside the same seed of local-only training', () => {
  const found = outcomes.find(({ label, model }) => label === 'FedIT' && model === 'global')!;
  const seeds = [1, 2, 3].map((seed) =>
    outcomeOf(
      cell('FedIT', seed).method.global.clients,
      cell('FedIT', seed).base.clients,
      cell('local only', seed).method.personal!.clients,
    ),
  );
  const mean = (of: (one: (typeof seeds)[number]) => number) => seeds.reduce((sum, one) => sum + of(one), 0) / 3;
  expect(found.worst).toBeCloseTo(
    mean(({ worst }) => worst),
    12,
  );
  expect(found.variance).toBeCloseTo(
    mean(({ variance }) => variance),
    12,
  );
  expect(found.worseThanBase).toBeCloseTo(
    mean(({ worseThanBase }) => worseThanBase.length),
    12,
  );
  expect(found.worseThanLocal).toBeCloseTo(
    mean(({ worseThanLocal }) => worseThanLocal!.length),
    12,
  );
  for (const { client, seeds: times } of found.whoLocal) {
    expect(seeds.filter(({ worseThanLocal }) => worseThanLocal!.includes(client)).length).toBe(times);
  }
  expect(outcomes.at(-1)!.worseThanLocal).toBeUndefined();
});

it('names who is worse off, in how many seeds', () => {
  const [first] = outcomes;
  const told = (whoBase: readonly { client: string; seeds: number }[], worseThanBase: number) =>
    outcomesTable([{ ...first!, whoBase, worseThanBase }]).rows[0]![4];
  expect(told([], 0)).toBe('0 of 8');
  expect(told([{ client: 'a', seeds: 2 }], 2 / 3)).toBe('0.7 of 8: a (2 of 3 seeds)');
  expect(
    told(
      ['a', 'b', 'c', 'd', 'e'].map((client) => ({ client, seeds: 3 })),
      5,
    ),
  ).toBe('5.0 of 8: a (3 of 3 seeds), b (3 of 3 seeds), c (3 of 3 seeds), 2 more');
  expect(told([{ client: 'a', seeds: 3 }], 8)).toBe('all 8');
});
