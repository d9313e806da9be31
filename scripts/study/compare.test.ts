import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { mean } from '../../src/experiments/statistics.ts';
import type { Score, Summary } from '../../src/report/summary.ts';
import { analyse, compare, comparisons, csv, markdown, meanOf } from './compare.ts';

const score = (loss: number, tokenAccuracy = 0.5): Score => ({
  loss,
  perplexity: Math.exp(loss),
  tokenAccuracy,
  tokens: 10,
  rows: 2,
});

type Clients = Readonly<Record<string, Score>>;
const scores = (clients: Clients) => {
  const all = Object.values(clients);
  const macro = { loss: mean(all.map(({ loss }) => loss)), tokenAccuracy: mean(all.map((one) => one.tokenAccuracy)) };
  return { macro, clients };
};

interface Told {
  readonly global: Clients;
  readonly personal?: Clients;
  readonly trained?: number;
}

/** A run's summary as far as a study reads it. */
function run(seed: number, base: Clients, methods: Readonly<Record<string, Told>>): Summary {
  const list = Object.entries(methods).map(([label, { global, personal, trained = 100 }]) => ({
    label,
    labelledTokens: trained,
    stages: [{ rounds: [], traffic: label === 'local only' ? {} : { 'desk 0': { up: 8, down: 8 } } }],
    global: scores(global),
    ...(personal && { personal: scores(personal) }),
  }));
  return { seed, base: scores(base), methods: list } as unknown as Summary;
}

const desks = (...losses: readonly number[]): Clients =>
  Object.fromEntries(losses.map((loss, i) => [`desk ${i}`, score(loss)]));
const base = desks(9, 9);
const runs = [
  run(1, base, { FedIT: { global: desks(2, 4) }, FLO: { global: desks(1, 4), personal: desks(1, 2) } }),
  run(2, base, { FedIT: { global: desks(3, 5) }, FLO: { global: desks(3, 3), personal: desks(1, 3) } }),
  run(3, base, { FedIT: { global: desks(2, 2) }, FLO: { global: desks(1, 1), personal: desks(1, 1) } }),
];

test('a method without personal models gives everybody the global one', () => {
  const analysis = analyse(runs);
  expect(meanOf(analysis, 'FedIT', 'personal', 'loss')).toBeCloseTo(3, 12);
  expect(meanOf(analysis, 'FedIT', 'global', 'loss')).toBeCloseTo(3, 12);
  expect(meanOf(analysis, 'FLO', 'personal', 'loss')).toBeCloseTo(1.5, 12);
});

test('differences are paired by seed and client; seeds are the replicates', () => {
  const { overSeeds, perClient } = compare(runs, 'FLO', 'FedIT', 'personal').difference;
  // Per seed, mean over desks: −1.5, −2, −1; t(0.975, 2) = 4.302653.
  expect(overSeeds!.mean).toBeCloseTo(-1.5, 12);
  expect(overSeeds!.high - overSeeds!.mean).toBeCloseTo((4.302653 * 0.5) / Math.sqrt(3), 5);
  // Desk 0: −1, −2, −1; desk 1: −2, −2, −1.
  expect(perClient.map(({ client, overSeeds: one }) => [client, one!.mean])).toEqual([
    ['desk 0', expect.closeTo(-4 / 3, 12)],
    ['desk 1', expect.closeTo(-5 / 3, 12)],
  ]);
});

test('an unknown method is an error', () => {
  expect(() => compare(runs, 'FedAvg', 'FLO', 'global')).toThrow('no method FedAvg');
  expect(() => compare(runs, 'FLO', 'FedAvg', 'global')).toThrow('FedAvg is none of the arms');
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

/** The runs that the published file is of. */
function published(): Summary[] {
  const text = readFileSync(new URL('../../docs/results/embedded.csv', import.meta.url), 'utf8');
  const lines = text
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.split(',') as [seed: string, label: string, kind: string, client: string, ...rest: string[]]);
  const clients = (seed: string, label: string, kind: string): Clients =>
    Object.fromEntries(
      lines
        .filter((line) => line[0] === seed && line[1] === label && line[2] === kind)
        .map(([, , , client, loss, right]) => [client, score(Number(loss), Number(right))]),
    );
  const told = (seed: string, label: string): Told => {
    const personal = clients(seed, label, 'personal');
    const trained = Number(lines.find((line) => line[0] === seed && line[1] === label)!.at(-1));
    return { global: clients(seed, label, 'global'), ...(Object.keys(personal).length > 0 && { personal }), trained };
  };
  const labels = [...new Set(lines.map(([, label]) => label))].filter((label) => label !== 'base model');
  return [...new Set(lines.map(([seed]) => seed))].map((seed) =>
    run(
      Number(seed),
      clients(seed, 'base model', 'global'),
      Object.fromEntries(labels.map((label) => [label, told(seed, label)])),
    ),
  );
}

test('the published tables are those of the published file', () => {
  const page = readFileSync(new URL('../../docs/results.md', import.meta.url), 'utf8').split('\n');
  const runs = published();
  const tables = markdown(runs, comparisons(runs)).split('\n');
  expect(tables.length).toBe(25);
  expect(tables.filter((line) => !page.includes(line))).toEqual([]);
});
