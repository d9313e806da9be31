import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { join as at } from 'node:path';
import { expect, expectTypeOf, test } from 'vitest';
import { serving, toTheEnd } from '../tests/support/serving.ts';
import { temporaryFolder } from '../tests/support/temporary.ts';
import { embeddedModel, smallServed, writeFewRows } from '../tests/support/workspace.ts';
import { join, joinEvents, UserError, type Joined, type Joining, type JoinOptions, type JoinPlan } from './client.ts';
import type { RunConfigInput } from './config/schema.ts';

const root = temporaryFolder();

test('types', () => {
  expectTypeOf(join).parameter(0).toEqualTypeOf<JoinOptions>();
  expectTypeOf(join).returns.resolves.toEqualTypeOf<Joined>();
  expectTypeOf<JoinPlan>().toExtend<Joining>();
  expectTypeOf(joinEvents).returns.toExtend<AsyncGenerator<Joining>>();
});

test('another program takes part: it is told the plan, its tasks and what became of them, and gets its adapter', async () => {
  const folder = mkdtempSync(at(root, 'c-'));
  writeFewRows(at(folder, 'rows.jsonl'));
  const config: RunConfigInput = {
    ...smallServed,
    methods: [{ use: 'fedit', local: { steps: 1 } }],
    clients: { ...smallServed.clients, minimum: 5 },
    serve: { clients: ['ann'], port: 0 },
  };
  const { events, url, tokens } = await serving(config, { out: at(folder, 'server') });
  const token = readFileSync(at(tokens, 'ann.token'), 'utf8').trim();
  const options = { url, data: at(folder, 'rows.jsonl'), model: { path: embeddedModel }, threads: 1, patience: 20 };
  const server = toTheEnd(events);

  const seen: Joining[] = [];
  const dry = await join({ ...options, dryRun: true }, (event) => seen.push(event));
  expect(dry).toEqual({ how: 'dry run', why: '', adapters: [] });
  expect(seen).toHaveLength(1);
  expect(seen[0]).toMatchObject({
    kind: 'plan',
    data: { train: 6, test: 2 },
    // The run has them divide off test rows and none to validate.
    needed: { rows: 5, parts: ['train', 'test'] },
    stages: [
      { stage: 'federated', rounds: 1, rows: 2 },
      { stage: 'local', rounds: 1, numbers: 0, rows: 2 },
    ],
  });
  // Of every module of the small model, A and B of rank 2.
  const { trainable } = (seen[0] as JoinPlan).model;
  expect((seen[0] as JoinPlan).stages.map(({ trained }) => trained)).toEqual([trainable, trainable]);
  expect((seen[0] as JoinPlan).memory).toBeGreaterThan(20 * trainable);
  await expect(join({ ...options, dryRun: true, maxMemory: 1e6 })).rejects.toThrow(
    'more than the 1.0 MB of --max-memory',
  );
  const { disk } = seen[0] as JoinPlan;
  expect(disk.least).toBeGreaterThan(4 * trainable);
  expect(disk.most).toBeLessThan(100 * 4 * trainable);
  await expect(join({ ...options, dryRun: true, maxDisk: 1000 })).rejects.toThrow('more than the 1.0 kB of --max-disk');

  await expect(join({ ...options, out: at(folder, 'other') })).rejects.toThrow(UserError);
  const result = await join({ ...options, token, out: at(folder, 'ann') }, (event) => seen.push(event));
  await server;
  const adapter = at(folder, 'ann', 'adapters', 'fedit');
  expect(result).toEqual({ how: 'finished', why: 'the run is finished', client: 'ann', adapters: [adapter] });
  expect(existsSync(at(adapter, 'adapter_model.safetensors'))).toBe(true);
  const kinds = seen.map(({ kind }) => kind);
  expect(kinds.filter((kind) => kind === 'accepted')).toHaveLength(2);
  expect(kinds.indexOf('joined')).toBeLessThan(kinds.indexOf('task'));
});
