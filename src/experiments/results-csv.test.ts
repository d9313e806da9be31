import { expect, it } from 'vitest';
import { sweepFixture } from '../../tests/sweep-fixture.ts';
import { resultsCsv, stagesCsv } from './results-csv.ts';

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
      // No formula for a spreadsheet.
      const shown = client === '=1+1' ? "'=1+1" : client;
      const own = rows.filter(
        (row) => row[0] === cell.arm && row[2] === String(cell.seed) && row[3] === shown && row[4] === 'global',
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

it('has a row per arm, seed and stage of what it cost, which adds up to the run', () => {
  const [names, ...costs] = parse(stagesCsv(results));
  const at = (name: string): number => names!.indexOf(name);
  expect(at('peakMemory')).toBe(names!.length - 1);
  expect(costs.length).toBe(results.cells.reduce((sum, { method }) => sum + method.stages.length, 0));
  for (const { arm, seed, method } of results.cells) {
    const own = costs.filter((row) => row[at('arm')] === arm && row[at('seed')] === String(seed));
    expect(own.map((row) => row[at('stage')])).toEqual(method.stages.map((_, i) => String(i + 1)));
    expect(own.map((row) => Number(row[at('rounds')]))).toEqual(method.stages.map(({ rounds }) => rounds.length));
    const sum = (name: string): number => own.reduce((total, row) => total + Number(row[at(name)]), 0);
    expect(sum('labelledTokens')).toBe(method.stages.reduce((total, stage) => total + stage.labelledTokens, 0));
    expect(sum('bytesUp')).toBe(
      rows
        .filter((row) => row[0] === arm && row[2] === String(seed) && row[5] === 'bytesUp')
        .reduce((total, row) => total + Number(row[6]), 0),
    );
  }
});

it('leaves out what the system or private clients do not tell', () => {
  const [cell] = results.cells;
  const [stage] = cell!.method.stages;
  const { peakMemory: _, ...silent } = stage!;
  const told = (more: object): string[] =>
    parse(stagesCsv({ ...results, cells: [{ ...cell!, method: { ...cell!.method, ...more } }] }))[1]!;
  expect(told({ stages: [{ ...stage!, peakMemory: 5e8 }] }).at(-1)).toBe('500000000');
  expect(told({ stages: [silent] }).at(-1)).toBe('');
  expect(told({ stages: [silent] })[7]).toBe(String(stage!.labelledTokens));
  expect(told({ stages: [silent], privacy: {} })[7]).toBe('');
});
