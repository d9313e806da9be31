import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { needs, shared } from '../../tests/shared.ts';
import { byteTokenizer } from '../../tests/support/byte-tokenizer.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { UserError } from '../errors.ts';
import { openTokenizer } from '../formats/files/tokenizer.ts';
import { summariseData } from '../run/summarise.ts';
import { loadClients, type LoadedData, type LoadRequest } from './load.ts';
import { readServerRows } from './server-rows.ts';

const folder = temporaryFolder();
let files = 0;

function write(rows: readonly object[]): string {
  const path = join(folder, `data-${files++}.jsonl`);
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path;
}

const rowsOf = (counts: Readonly<Record<string, number>>): { prompt: string; response: string; category: string }[] =>
  Object.entries(counts).flatMap(([category, n]) =>
    Array.from({ length: n }, (_, i) => ({ prompt: `${category} ${i}`, response: `answer ${i}`, category })),
  );

const tokenizer = byteTokenizer();
const load = (source: string, change: Partial<LoadRequest['clients']> = {}, rest: Partial<LoadRequest> = {}) =>
  loadClients({
    source,
    data: { path: source, format: 'jsonl', template: 'plain', maxLength: 64 },
    clients: { partition: 'category', split: { validation: 0.1, test: 0.2 }, ...change },
    tokenizer,
    seed: 1,
    ...rest,
  });

const rowsKept = ({ clients }: LoadedData): number =>
  clients.reduce((sum, { train, validation, test }) => sum + train.length + validation.length + test.length, 0);
const total = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((sum, n) => sum + n, 0);

it('takes the server’s own rows from a file, all of them and whole, and no row of a client', async () => {
  const source = write(rowsOf({ b: 20, a: 10 }));
  const path = write([...rowsOf({ c: 5 }), { prompt: 'x', response: ' ' }, { prompt: 'y', response: 'y'.repeat(99) }]);
  const [data, without] = [await load(source, { proxy: { path } }), await load(source)];
  expect(data.proxy.map(({ id }) => id)).toEqual(['0', '1', '2', '3', '4', '6']);
  expect(data.clients).toEqual(without.clients);
  expect(data).toMatchObject({ rows: 37, dropped: { 'empty response': 1 }, truncated: 1 });
  const own = { data: { path, format: 'jsonl', template: 'plain', maxLength: 64 }, tokenizer, seed: 1 } as const;
  expect((await readServerRows(path, own)).rows).toEqual(data.proxy);
  await expect(load(source, { proxy: { path: write([{ prompt: 'x', response: ' ' }]) } })).rejects.toThrow(UserError);
});

it('reads, deals, divides and tokenises, and fills the summary', async () => {
  const source = write([...rowsOf({ b: 20, a: 10 }), { prompt: 'x', response: ' ', category: 'a' }]);
  const data = await load(source);
  expect(data).toMatchObject({
    partition: 'by category',
    column: 'category',
    rows: 31,
    dropped: { 'empty response': 1 },
  });
  expect(
    data.clients.map(({ id, train, validation, test }) => [id, train.length, validation.length, test.length]),
  ).toEqual([
    ['a', 7, 1, 2],
    ['b', 14, 2, 4],
  ]);
  const [a] = data.clients;
  expect(a!.testExamples.map(({ id }) => id)).toEqual(a!.test.map(({ id }) => id));
  const ids = [a!.train, a!.validation, a!.test]
    .flat()
    .map(({ id }) => Number(id))
    .sort((x, y) => x - y);
  expect(ids).toEqual([20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
  expect(data.shown.map(({ text, labelled }) => (labelled ? `[${text}]` : text)).join('')).toMatch(
    /^a (\d)\n\[answer \1<\|end\|>\]$/,
  );
  expect(data.template.stop).toEqual([tokenizer.eosId]);
  expect(summariseData(data)).toEqual({
    name: source.split('/').at(-1),
    partition: 'by category',
    rows: 31,
    dropped: { 'empty response': 1 },
    truncated: 0,
    clients: [
      // "answer N" and the end of sequence: 9 tokens.
      { id: 'a', train: 7, validation: 1, test: 2, labelledTokens: 63, histogram: { a: 10 } },
      {
        id: 'b',
        train: 14,
        validation: 2,
        test: 4,
        labelledTokens: expect.any(Number) as number,
        histogram: { b: 20 },
      },
    ],
  });
});

it('accounts for every row, and repeats itself', async () => {
  const source = write([
    ...rowsOf({ a: 17, b: 30, c: 9 }),
    ...rowsOf({ '': 3 }),
    { prompt: 'p', response: '', category: 'c' },
  ]);
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        partition: fc.constantFrom('category', 'iid', 'dirichlet'),
        limit: fc.option(fc.integer({ min: 5, max: 20 }), { nil: undefined }),
        proxy: fc.constantFrom(0, 0.1, 7),
        seed: fc.nat(),
      }),
      async ({ partition, limit, proxy, seed }) => {
        const settings = {
          partition,
          proxy,
          minimum: 1,
          split: { validation: 1, test: 1 },
          ...(partition !== 'category' && { count: 2, alpha: 50 }),
          ...(limit !== undefined && { limit }),
        } as const;
        const data = await load(source, settings, { seed });
        expect(rowsKept(data) + data.proxy.length + total(data.dropped)).toBe(60);
        expect(total(Object.fromEntries([...data.histogram].map(([id, counts]) => [id, total(counts)])))).toBe(
          rowsKept(data),
        );
        const ids = [
          ...data.proxy,
          ...data.clients.flatMap(({ train, validation, test }) => [...train, ...validation, ...test]),
        ];
        expect(new Set(ids.map(({ id }) => id)).size).toBe(ids.length);
        if (limit !== undefined)
          expect(Math.max(...data.clients.map((c) => c.train.length + 2))).toBeLessThanOrEqual(limit);
        const again = await load(source, settings, { seed });
        expect(again.clients).toEqual(data.clients);
      },
    ),
    { numRuns: 25 },
  );
});

it("does not change a client's split when another client comes or goes", async () => {
  const both = await load(write(rowsOf({ a: 20, b: 20 })));
  const alone = await load(write(rowsOf({ a: 20 })));
  expect(alone.clients[0]).toEqual(both.clients[0]);
});

it('counts rows cut to the maximum length, and keeps part of each response', async () => {
  const rows = rowsOf({ a: 10 }).map((row, i) => (i < 4 ? { ...row, response: 'long '.repeat(50) } : row));
  const data = await load(write(rows), { split: { validation: 0, test: 0 } });
  expect(data.truncated).toBe(4);
  expect(data.clients[0]!.train.every(({ ids, labelled }) => ids.length <= 64 && labelled.includes(1))).toBe(true);
});

it('takes the given test rows, and the rows that a split file holds out', async () => {
  const rows = rowsOf({ a: 10 }).map((row, i) => ({ ...row, split: i < 3 ? 'test' : 'train' }));
  const given = await load(write(rows), { split: { validation: 0.2, test: 'given' }, proxy: 4 });
  expect(given.clients[0]!.test.map(({ id }) => id)).toEqual(['0', '1', '2']);
  expect(given.proxy).toHaveLength(4);
  expect(given.proxy.every(({ id }) => Number(id) >= 3)).toBe(true);
  const file = join(folder, 'split.json');
  writeFileSync(file, JSON.stringify({ test: [0, 2], clients: { one: [2, 6], two: [6, 10] } }));
  const dealt = await load(write(rows), { partition: 'file', file, split: { validation: 0, test: 1 } });
  expect(dealt.clients.map(({ id, train, test }) => [id, train.length, test.length])).toEqual([
    ['one', 3, 1],
    ['two', 3, 1],
  ]);
  expect(dealt.heldOut.rows.map(({ id }) => id)).toEqual(['0', '1']);
  expect(dealt.heldOut.examples.map(({ id }) => id)).toEqual(['0', '1']);
});

it('keeps new clients apart: their rows are in nobody else and not at the server', async () => {
  const source = write(rowsOf({ a: 10, b: 10, c: 10 }));
  const data = await load(source, { new: ['b'], proxy: 5 });
  expect(data.clients.map(({ id }) => id)).toEqual(['a', 'c']);
  expect(data.newClients.map(({ id, train, test }) => [id, train.length, test.length])).toEqual([['b', 7, 2]]);
  expect(data.proxy.every(({ id }) => Number(id) < 10 || Number(id) >= 20)).toBe(true);
  // Its split depends on nobody else.
  const all = await load(source);
  expect(data.newClients[0]).toEqual(all.clients[1]);
  expect(all.newClients).toEqual([]);
});

describe('what cannot be used is an error that names it', () => {
  it('clients with too few rows', async () => {
    const source = write(rowsOf({ big: 20, small: 2, tiny: 1 }));
    const error = (await load(source).catch((thrown: unknown) => thrown)) as Error;
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toBe(
      'clients: too few rows for 2 clients "small" (no training row of 2 rows), "tiny" (no training row of 1 rows). Each needs at least 1 (clients.minimum) and one row in every part (test 0.2, validation 0.1, the rest training). Give them more data, lower clients.minimum or the split\'s amounts, or keep fewer clients with clients.count',
    );
    await expect(load(source, { minimum: 5 })).rejects.toThrow('"small" (2 rows), "tiny" (1 rows)');
    expect((await load(source, { count: 1 })).clients.map(({ id }) => id)).toEqual(['big']);
    const file = join(folder, 'empty.json');
    writeFileSync(file, JSON.stringify({ full: [0, 1, 2, 3], none: [] }));
    await expect(load(source, { partition: 'file', file })).rejects.toThrow('for client "none" (0 rows)');
    const many = write(rowsOf(Object.fromEntries(Array.from({ length: 13 }, (_, i) => [`c${i}`, 1]))));
    await expect(load(many)).rejects.toThrow(/13 clients .*"c6" \(no training row of 1 rows\) and 3 more/);
  });

  it('a maximum length above the model, a proxy that takes everything, files that are not there', async () => {
    const source = write(rowsOf({ a: 10 }));
    await expect(load(source, {}, { modelLength: 32 })).rejects.toThrow(
      'data.maxLength is 64, but the model takes at most 32 tokens; lower data.maxLength',
    );
    await expect(load(source, { proxy: 10 })).rejects.toThrow('clients.proxy takes 10 of 10 rows');
    await expect(load(source, { partition: 'file', file: join(folder, 'no.json') })).rejects.toThrow(
      'no.json: there is no such file',
    );
  });

  it('and an abort ends the tokenising', async () => {
    const source = write(rowsOf({ a: 3000 }));
    const stop = new AbortController();
    const slow = {
      ...tokenizer,
      encode: (text: string) => (text.startsWith('a 5') && stop.abort(), tokenizer.encode(text)),
    };
    await expect(load(source, {}, { signal: stop.signal, tokenizer: slow })).rejects.toThrow(/abort/i);
  });
});

it('deals to 10,000 clients', async () => {
  const rows = Array.from({ length: 40_000 }, (_, i) => ({ prompt: `p${i}`, response: 'r', category: String(i % 7) }));
  const data = await load(write(rows), { partition: 'iid', count: 10_000, split: { validation: 1, test: 1 } });
  expect(data.clients).toHaveLength(10_000);
  expect(
    data.clients.every(
      ({ train, validation, test }) => train.length === 2 && validation.length === 1 && test.length === 1,
    ),
  ).toBe(true);
});

const dolly = shared('data/dolly/databricks-dolly-15k.jsonl');
const smollm2 = shared('models/smollm2-135m-instruct');
it.skipIf(dolly === undefined || smollm2 === undefined)(
  `Dolly by category with SmolLM2's chat template ${needs('data/dolly and models')}`,
  async () => {
    const data = await loadClients({
      source: dolly!,
      data: { path: dolly!, format: 'dolly', template: 'chat', maxLength: 256 },
      clients: { partition: 'category', limit: 60, split: { validation: 0.1, test: 0.2 } },
      tokenizer: await openTokenizer(smollm2!),
      seed: 1,
    });
    expect(data.clients.map(({ id }) => id)).toEqual([
      'brainstorming',
      'classification',
      'closed_qa',
      'creative_writing',
      'general_qa',
      'information_extraction',
      'open_qa',
      'summarization',
    ]);
    expect(data.rows).toBe(15_011);
    expect(rowsKept(data)).toBe(480);
    expect(total(data.dropped)).toBe(15_011 - 480);
    for (const { train, validation, test } of data.clients)
      expect([train.length, validation.length, test.length]).toEqual([42, 6, 12]);
    expect(data.truncated).toBeGreaterThan(20);
    expect(data.shown.at(-1)?.text.endsWith('<|im_end|>')).toBe(true);
  },
);
