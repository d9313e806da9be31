import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { needs, shared } from '../../tests/shared.ts';
import { partition, type Partition } from './partition.ts';
import { readDataset } from './read.ts';
import type { Dataset } from './rows.ts';
import type { ClientsConfig } from './settings.ts';

const split = { validation: 0, test: 0 };

/** A data set with one row per given category; an empty one means a row without the column. Row 1 was dropped by the reader. */
function dataset(categories: readonly string[]): Dataset {
  return {
    examples: categories.map((category, i) => ({
      id: `id-${i}`,
      messages: [],
      references: [],
      columns: { ...(category !== '' && { category }), parity: i % 2 === 0 ? 'even' : 'odd' },
    })),
    indexes: categories.map((_, i) => (i === 0 ? 0 : i + 1)),
    rows: categories.length + 1,
    dropped: new Map([['empty response', 1]]),
    droppedIds: new Set(['id-dropped']),
  };
}

const data = dataset(['b', 'a', 'b', '', 'c', 'b', 'a', 'constructor']);
const deal = (config: Partial<ClientsConfig>, content?: unknown, seed = 1): Partition =>
  partition(
    data,
    { partition: 'category', split, ...config },
    seed,
    content === undefined ? undefined : { content, name: 'split.json' },
  );
const plain = ({ clients }: Partition): Record<string, readonly number[]> => Object.fromEntries(clients);

describe('by column', () => {
  it('makes a client of every value, sorted, and counts rows without one', () => {
    const dealt = deal({});
    expect([...dealt.clients.keys()]).toEqual(['a', 'b', 'c', 'constructor']);
    expect(plain(dealt)).toMatchObject({ a: [1, 6], b: [0, 2, 5], c: [4] });
    expect(dealt).toMatchObject({
      dropped: new Map([['no value in column "category"', 1]]),
      description: 'by category',
      column: 'category',
      heldOut: [],
    });
    expect(plain(deal({ partition: 'column', column: 'parity' }))).toEqual({ even: [0, 2, 4, 6], odd: [1, 3, 5, 7] });
  });

  it('keeps the largest clients where only so many are wanted', () => {
    const dealt = deal({ count: 2 });
    expect(plain(dealt)).toEqual({ a: [1, 6], b: [0, 2, 5] });
    expect(dealt.dropped.get('not among the 2 largest clients')).toBe(2);
    expect(() => deal({ count: 9 })).toThrow('clients.count is 9, but the column has only 4 values');
  });

  it('names the columns there are where the one asked for is not', () => {
    expect(() => deal({ partition: 'task' })).toThrow(
      'clients: no row has a value in column "task"; the data have the columns: category, parity',
    );
    expect(() => deal({ partition: 'column' })).toThrow('clients.partition: column needs clients.column');
    expect(() => deal({ partition: 'column', column: 'toString' })).toThrow('no row has a value in column "toString"');
  });
});

it('iid: every row once, sizes within one, another deal for another seed', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 200 }), fc.nat(), (rows, count, seed) => {
      fc.pre(count <= rows);
      const some = dataset(Array.from({ length: rows }, () => 'x'));
      const { clients } = partition(some, { partition: 'iid', count, split }, seed);
      const sizes = [...clients.values()].map((own) => own.length);
      expect(clients.size).toBe(count);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      expect([...clients.values()].flat().sort((a, b) => a - b)).toEqual(some.examples.map((_, i) => i));
    }),
  );
  expect([...deal({ partition: 'iid', count: 3 }).clients.keys()]).toEqual(['client-0', 'client-1', 'client-2']);
  expect(plain(deal({ partition: 'iid', count: 3 }, undefined, 1))).not.toEqual(
    plain(deal({ partition: 'iid', count: 3 }, undefined, 2)),
  );
  expect(deal({ partition: 'iid', count: 2 })).toMatchObject({ column: 'category', description: 'iid over 2 clients' });
  expect(() => deal({ partition: 'iid' })).toThrow('clients.partition: iid needs clients.count');
  expect(() => deal({ partition: 'iid', count: 9 })).toThrow('clients.count is 9, but there are only 8 rows to deal');
});

it('dirichlet: says what it did, and needs its settings', () => {
  const settings = { partition: 'dirichlet', count: 2, alpha: 0.5, minimum: 0 } as const;
  const dealt = deal(settings);
  expect(dealt.description).toBe('dirichlet(0.5) over category, class-over-clients');
  expect([...dealt.clients.values()].flat().sort((a, b) => a - b)).toEqual([0, 1, 2, 4, 5, 6, 7]);
  expect(deal({ ...settings, column: 'parity', convention: 'mix-per-client' }).description).toBe(
    'dirichlet(0.5) over parity, mix-per-client',
  );
  expect(() => deal({ partition: 'dirichlet', count: 2 })).toThrow('clients.partition: dirichlet needs clients.alpha');
  expect(() => deal({ ...settings, alpha: 0 })).toThrow('clients.alpha must be above 0, not 0');
  // The default minimum is 10, as in Flower.
  expect(() => deal({ partition: 'dirichlet', count: 2, alpha: 0.5 })).toThrow('below clients.minimum 10');
});

describe('by file', () => {
  const file = { partition: 'file' } as const;

  it('takes row indexes, ids and ranges; rows that reading dropped are passed over', () => {
    // Row 1 was dropped, so row n is example n − 1 from there on.
    expect(plain(deal(file, { x: [0, 1, 2], y: [8, 4, 3] }))).toEqual({ x: [0, 1], y: [2, 3, 7] });
    expect(plain(deal(file, { x: ['id-5', 'id-dropped'], y: ['id-0'] }))).toEqual({ x: [5], y: [0] });
    const ranges = deal(file, { test: [0, 2], clients: { x: [2, 5], y: [5, 6] }, note: 'half-open' });
    expect(plain(ranges)).toEqual({ x: [1, 2, 3], y: [4] });
    expect(ranges).toMatchObject({ heldOut: [0], dropped: new Map([['in no client of the split file', 3]]) });
    // One list of two indexes among longer ones is no range.
    expect(plain(deal(file, { clients: { x: [2, 5], y: [3, 4, 6] } }))).toEqual({ x: [1, 4], y: [2, 3, 5] });
  });

  it('refuses rows that are not there, that have two owners, and other shapes', () => {
    expect(() => deal(file, { x: [0, 3, 9] })).toThrow(
      'split.json: client "x" names row 9, which is not in the data (9 rows); is the split file for other data?',
    );
    expect(() => deal(file, { x: ['nobody'] })).toThrow('names row "nobody"');
    expect(() => deal(file, { x: [0, 2, 3], y: [4, 2, 5] })).toThrow(
      'split.json: row 2 is given to both client "x" and client "y"',
    );
    expect(() => deal(file, { clients: { x: [3, 4, 2] }, test: [0, 3] })).toThrow(
      'given to both client "x" and "test"',
    );
    expect(() => deal(file, { x: 'all' })).toThrow('"x" must be a list of row indexes, of ids, or a range');
    expect(() => deal(file, { x: [-1] })).toThrow('"x" must be a list');
    expect(() => deal(file, {})).toThrow('split.json: names no client');
    expect(() => deal(file, [1])).toThrow('split.json: expected {client: rows}, found a list');
    expect(() => deal(file)).toThrow('needs clients.file');
  });
});

const dolly = shared('data/dolly');
it.skipIf(dolly === undefined)(`follows both published splits of Dolly ${needs('data/dolly')}`, async () => {
  const all = await readDataset(`${dolly}/databricks-dolly-15k.jsonl`, { format: 'dolly' });
  const sizes = [1820, 2831, 1773, 1299, 2253, 565, 1518, 896, 1533, 443];
  const mixes: number[][] = [];
  for (const name of ['split-dirichlet0.5.json', 'split-stratified.json']) {
    const content = JSON.parse(readFileSync(`${dolly}/${name}`, 'utf8')) as unknown;
    const dealt = partition(all, { partition: 'file', split }, 1, { content, name });
    expect(dealt.heldOut).toEqual(Array.from({ length: 80 }, (_, i) => i));
    expect([...dealt.clients.keys()]).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    expect([...dealt.clients.values()].map((rows) => rows.length)).toEqual(sizes);
    expect(dealt.dropped.size).toBe(0);
    const open = (rows: readonly number[]): number =>
      rows.filter((i) => all.examples[i]!.columns['category'] === 'open_qa').length / rows.length;
    mixes.push([...dealt.clients.values()].map(open));
  }
  const spread = (shares: readonly number[]): number => Math.max(...shares) - Math.min(...shares);
  expect(spread(mixes[0]!)).toBeGreaterThan(0.3);
  expect(spread(mixes[1]!)).toBeLessThan(0.02);
});
