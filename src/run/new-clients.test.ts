import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { smallConfig, workspace } from '../../tests/support/workspace.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { Interrupted } from '../errors.ts';
import type { Summary } from '../report/summary.ts';
import { clientTable, newClientTable } from '../report/tables.ts';
import { finalTable } from '../report/table.ts';
import { newClientsLabel } from './new-clients.ts';
import { personalize } from './personalize.ts';
import { run, type RunOptions } from './run.ts';

const folder = workspace();
afterAll(() => folder[Symbol.dispose]());

const rows = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const dealt = { ada: rows(0, 12), ben: rows(12, 24), cho: rows(24, 40) };
const split = (name: string, content: object): string => {
  const path = folder.at(`${name}.json`);
  writeFileSync(path, JSON.stringify(content));
  return path;
};
const everybody = split('everybody', { clients: dealt, test: rows(40, 46) });
const optimizer = { use: 'fedlora-optimizer', global: { rounds: 1, rows: 4 }, local: { steps: 2 } };
const config = (clients: object, methods: readonly object[]): RunConfigInput =>
  ({
    ...smallConfig,
    clients: { partition: 'file', split: { validation: 0, test: 4 }, ...clients },
    rounds: { count: 1, minimum: 2 },
    methods,
  }) as RunConfigInput;
const going = (name: string, given: RunConfigInput, more: Partial<RunOptions> = {}): Promise<Summary> =>
  run(given, { out: folder.at(name), ...more });

const withNew = config({ file: everybody, new: ['cho'] }, [optimizer, { use: 'fedit' }, { use: 'local-only' }]);

test('new clients are scored at each method’s end, take part in nothing, and train alone as fedlora personalize does', async () => {
  const summary = await going('new', withNew);
  const [whole, fedit, local] = summary.methods;
  expect(summary.data.clients.map(({ id }) => id)).toEqual(['ada', 'ben']);
  expect(summary.newClients!.clients).toMatchObject([{ id: 'cho', train: 12, test: 4 }]);
  expect(Object.keys(summary.newClients!.base.clients)).toEqual(['cho']);
  for (const method of summary.methods) {
    expect(Object.keys(method.newClients!.global.clients)).toEqual(['cho']);
    expect(Object.keys(method.global.clients)).toEqual(['ada', 'ben']);
    expect(method.newClients!.global.heldOut).toBeUndefined();
    for (const stage of method.stages) expect(Object.keys(stage.traffic)).toEqual(['ada', 'ben']);
  }
  // Without a local stage there is nothing personal; local-only trains the new client from the untrained start.
  expect(fedit!.newClients).toMatchObject({ labelledTokens: 0 });
  expect(fedit!.newClients!.personal).toBeUndefined();
  expect(local!.newClients!.global.micro.loss).toBe(summary.newClients!.base.micro.loss);
  expect(local!.newClients!.personal!.macro.loss).not.toBe(summary.newClients!.base.macro.loss);
  expect(whole!.newClients!.labelledTokens).toBeGreaterThan(0);

  const without = await going(
    'without',
    config({ file: split('two', { clients: { ada: dealt.ada, ben: dealt.ben } }) }, [optimizer]),
  );
  expect(without.methods[0]!.global.clients).toEqual(whole!.global.clients);
  expect(without.methods[0]!.personal).toEqual(whole!.personal);
  expect(without.methods[0]!.labelledTokens).toBe(whole!.labelledTokens);

  const { use: _, ...options } = optimizer;
  const alone = config({ file: split('cho', { clients: { cho: dealt.cho } }) }, [{ use: 'personalize', ...options }]);
  const adapter = folder.at('new', 'adapters', 'fedlora-optimizer', 'global');
  const personalized = await going('alone', { ...alone, rounds: { count: 1 } }, { adapter, methods: [personalize] });
  expect(personalized.methods[0]!.personal!.clients).toEqual(whole!.newClients!.personal!.clients);
  expect(personalized.methods[0]!.labelledTokens).toBe(whole!.newClients!.labelledTokens);
});

test('the split file’s own test rows score the global models', async () => {
  const summary = JSON.parse(readFileSync(folder.at('new', 'summary.json'), 'utf8')) as Summary;
  expect(summary.base.heldOut).toMatchObject({ rows: 6 });
  expect(summary.base.micro.rows).toBe(8);
  const [whole, , local] = summary.methods;
  expect(whole!.global.heldOut!.loss).not.toBe(summary.base.heldOut!.loss);
  expect(local!.global.heldOut).toEqual(summary.base.heldOut);
  const column = (head: string): readonly (string | undefined)[] => {
    const table = finalTable(summary);
    return table.rows.map((row) => row[table.head.indexOf(head)]);
  };
  const shown = (loss: number): string => loss.toFixed(3);
  expect(column('global test rows')[1]).toBe(shown(whole!.global.heldOut!.loss));
  expect(column('new clients, global')).toEqual([
    shown(summary.newClients!.base.macro.loss),
    shown(whole!.newClients!.global.macro.loss),
    shown(summary.methods[1]!.newClients!.global.macro.loss),
    '–',
  ]);
  expect(column('new clients, personal').slice(0, 3)).toEqual([
    '–',
    shown(whole!.newClients!.personal!.macro.loss),
    '–',
  ]);
  const last = clientTable(summary).rows.at(-1)!;
  expect(last.slice(0, 2)).toEqual(['global test rows', '6']);
  expect(newClientTable(summary)!.rows.map(([id]) => id)).toEqual(['cho']);
  const report = readFileSync(folder.at('new', 'report.html'), 'utf8');
  expect(report).toContain('global test rows');
  expect(report).toContain('Test loss of new clients');
});

test('a run stopped among its new clients goes on to the same scores', async () => {
  const control = new AbortController();
  const stop = newClientsLabel('fedlora-optimizer');
  const stopped = going('stopped', withNew, {
    signal: control.signal,
    onEvent: (event) => {
      if (event.kind === 'client done' && event.method === stop) control.abort();
    },
  });
  await expect(stopped).rejects.toThrow(Interrupted);
  const resumed = await going('stopped', withNew, { resume: true });
  const whole = JSON.parse(readFileSync(folder.at('new', 'summary.json'), 'utf8')) as Summary;
  expect(resumed.methods.map(({ newClients }) => newClients)).toEqual(
    whole.methods.map(({ newClients }) => newClients),
  );
});
