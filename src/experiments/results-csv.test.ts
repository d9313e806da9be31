import { expect, it } from 'vitest';
import { sweepFixture } from '../../tests/sweep-fixture.ts';
import { resultsCsv } from './results-csv.ts';

/** A reader of RFC 4180 by its grammar, character by character. */
function parse(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let at = 0;
  while (at < text.length) {
    let field = '';
    if (text[at] === '"') {
      at++;
      for (;;) {
        if (text[at] === undefined) throw new Error('open quote');
        if (text[at] === '"' && text[at + 1] === '"') at++;
        else if (text[at] === '"') break;
        field += text[at++];
      }
      at++;
    } else while (at < text.length && text[at] !== ',' && text[at] !== '\r') field += text[at++];
    row.push(field);
    if (text[at] === ',') at++;
    else if (text.slice(at, at + 2) === '\r\n') {
      rows.push(row);
      row = [];
      at += 2;
    } else throw new Error(`neither comma nor CRLF at ${at}`);
  }
  return rows;
}

const names = ['plain', 'a,b', 'says "no"', 'two\r\nlines', '日本', '"', ' space ', '=1+1'];
const results = sweepFixture({ methods: 2, seeds: [3, 9], names, labels: ['one, "first"', 'two'] });
const [head, ...rows] = parse(resultsCsv(results));

it('has a row per arm, seed, client, model and metric, whatever the names', () => {
  expect(head).toEqual(['arm', 'method', 'seed', 'client', 'model', 'metric', 'value']);
  for (const row of rows) expect(row.length).toBe(7);
  expect(new Set(rows.map((row) => JSON.stringify(row.slice(0, 6)))).size).toBe(rows.length);
  for (const cell of results.cells) {
    for (const [client, score] of Object.entries(cell.method.global.clients)) {
      const own = rows.filter(
        (row) => row[0] === cell.arm && row[2] === String(cell.seed) && row[3] === client && row[4] === 'global',
      );
      expect(own.map((row) => row[5])).toEqual(['loss', 'tokenAccuracy', 'exactMatch', 'rougeL', 'tokens', 'rows']);
      // Every digit comes back.
      expect(Number(own[0]![6])).toBe(score.loss);
    }
  }
});

it('has personal models, bytes by client, and the whole run without a client', () => {
  const of = (metric: string, model = '') =>
    rows.filter((row) => row[0] === 'one, "first"' && row[2] === '3' && row[4] === model && row[5] === metric);
  expect(of('loss', 'personal').length).toBe(names.length);
  expect(of('bytesUp').map((row) => Number(row[6]))).toEqual(names.map(() => 8 * 1.84e6 + 4 * 0.8e6));
  expect(of('labelledTokens')).toEqual([
    [
      'one, "first"',
      'fedlora-optimizer',
      '3',
      '',
      '',
      'labelledTokens',
      String(results.cells[0]!.method.labelledTokens),
    ],
  ]);
  expect(rows.some((row) => row[0] === 'two' && row[4] === 'personal')).toBe(false);
});

it('ends every line with CRLF and quotes only where needed', () => {
  const text = resultsCsv(results);
  expect(text.endsWith('\r\n')).toBe(true);
  expect(text).toContain('"one, ""first""",fedlora-optimizer,3,"two\r\nlines",base,loss,');
  expect(text).toContain('\r\ntwo,fedit,3,plain,base,loss,');
});
