import { expect, test } from 'vitest';
import type { Score, Summary } from '../../src/report/summary.ts';
import { compare, csv, markdown, perSeed } from './compare.ts';

const score = (loss: number): Score => ({ loss, perplexity: Math.exp(loss), tokenAccuracy: 0.5, tokens: 10, rows: 2 });

const scores = (losses: readonly number[]): { clients: Record<string, Score> } => ({
  clients: Object.fromEntries(losses.map((loss, i) => [`desk ${i}`, score(loss)])),
});

/** A run's summary as far as a study reads it. */
function run(seed: number, methods: Record<string, { global: number[]; personal?: number[] }>): Summary {
  const list = Object.entries(methods).map(([label, { global, personal }]) => ({
    label,
    labelledTokens: 100,
    global: scores(global),
    ...(personal && { personal: scores(personal) }),
  }));
  return { seed, base: scores([9, 9]), methods: list } as unknown as Summary;
}

const runs = [
  run(1, { FedIT: { global: [2, 4] }, FLO: { global: [1, 4], personal: [1, 2] } }),
  run(2, { FedIT: { global: [3, 5] }, FLO: { global: [3, 3], personal: [1, 3] } }),
  run(3, { FedIT: { global: [2, 2] }, FLO: { global: [1, 1], personal: [1, 1] } }),
];

test('a method without personal models gives everybody the global one', () => {
  expect(perSeed(runs, 'FedIT', 'personal')).toEqual([
    [2, 4],
    [3, 5],
    [2, 2],
  ]);
  expect(perSeed(runs, 'FLO', 'personal')).toEqual([
    [1, 2],
    [1, 3],
    [1, 1],
  ]);
});

test('differences are paired by seed and client; seeds are the replicates', () => {
  const { difference, clients } = compare(runs, 'FLO', 'FedIT', 'personal');
  // Per seed, mean over desks: −1.5, −2, −1; t(0.975, 2) = 4.302653.
  expect(difference.mean).toBeCloseTo(-1.5, 12);
  expect(difference.high - difference.mean).toBeCloseTo((4.302653 * 0.5) / Math.sqrt(3), 5);
  // Desk 0: −1, −2, −1; desk 1: −2, −2, −1.
  expect(clients.map(({ client, difference: one }) => [client, one.mean])).toEqual([
    ['desk 0', expect.closeTo(-4 / 3, 12)],
    ['desk 1', expect.closeTo(-5 / 3, 12)],
  ]);
});

test('an unknown method is an error', () => {
  expect(() => compare(runs, 'FLO', 'FedAvg', 'global')).toThrow('no method FedAvg');
});

test('the table and the file hold these numbers', () => {
  const table = markdown(runs, [compare(runs, 'FLO', 'FedIT', 'personal')]);
  expect(table).toContain('| base model | 9.000 |');
  // FedIT: means over desks 3, 4, 2. FLO personal: 1.5, 2, 1.
  expect(table).toContain('| FedIT | 3.000 | 50.0 % | 3.000 | 50.0 % | 100 |');
  expect(table).toContain('| FLO | 2.167 | 50.0 % | 1.500 | 50.0 % | 100 |');
  expect(table).toContain('| FLO − FedIT | personal | -1.500 [-2.742, -0.258] | 0.035 |');
  const lines = csv(runs).trim().split('\n');
  expect(lines).toHaveLength(1 + 3 * (2 + 2 + 4));
  expect(lines[1]).toBe('1,base model,global,desk 0,9.000000,0.500000,10,0');
  expect(lines).toContain('2,FLO,personal,desk 1,3.000000,0.500000,10,100');
});
