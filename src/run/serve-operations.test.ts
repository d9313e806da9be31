import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { serving } from '../../tests/support/serving.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { embeddedModel } from '../../tests/support/workspace.ts';
import { checkConfig } from '../config/check.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { readDatabase } from '../federation/database.ts';
import type { FederationServer } from '../federation/http/server/open.ts';
import { openStore } from '../federation/http/server/store.ts';
import { storedIdentity } from '../federation/journal-identity.ts';
import { openJournal } from '../federation/journal.ts';
import { readAdapter } from '../formats/files/peft.ts';
import { initAdapter } from '../lora/init.ts';
import { projectionsOf } from '../models/weights.ts';
import { openAdmin } from './admin.ts';
import { runFolder } from './folder.ts';
import { withGuards } from './guards.ts';
import { knownMethods, layOut } from './methods.ts';
import { operationsOf } from './serve-operations.ts';
import { layoutOf, openModel } from './subject.ts';

const root = temporaryFolder();
const given: RunConfigInput = {
  model: { path: embeddedModel },
  data: { format: 'jsonl', template: 'plain', maxLength: 96 },
  lora: { rank: 2, alpha: 4 },
  methods: [{ use: 'fedit' }],
  serve: { clients: ['ann', 'ben'], port: 0, gather: 600, linger: 0 },
};

test('the adapter of a stage under way is exported as it is in the journal; without one there is a reason', async () => {
  const folder = runFolder(mkdtempSync(join(root, 'e-')));
  const config = checkConfig(given, knownMethods());
  const model = await openModel(embeddedModel, undefined);
  const initial = initAdapter(layoutOf(model, config.lora), config.seed);
  const methods = layOut(config, knownMethods(), initial.layout);
  const journal = openJournal({ path: folder.journal, identity: {}, resume: false });
  onTestFinished(() => journal.close());
  const signal = new AbortController().signal;
  const server = (): never => {
    throw new Error('not asked for');
  };
  const operations = operationsOf({ config, folder, model, methods, journal, signal, server });
  await expect(operations.export(undefined)).rejects.toMatchObject({ status: 409, code: 'not-begun' });
  await expect(operations.export('../x')).rejects.toMatchObject({ status: 404, code: 'method' });
  const stage = methods[0]!.stages[0]!;
  const at = { method: 'fedit', stage: stage.name, stageIndex: 0 };
  journal.startStage(at, stage.rounds, stage.start({ adapter: initial, clients: ['ann', 'ben'], before: undefined }));
  const { folder: to, ...about } = await operations.export(undefined);
  expect(about).toEqual({ method: 'fedit', stage: stage.name, committed: 0, rounds: stage.rounds });
  expect((await readAdapter(to, projectionsOf(model.config))).factors).toEqual(initial.factors);
});

test('an operator sees whom a run waits for, copies it, and stops it so that it can be resumed', async () => {
  const out = mkdtempSync(join(root, 's-'));
  const { events, url, operators } = await serving(given, { out });
  const ended = events.next().catch((error: unknown) => error);
  const as = (role: string) =>
    openAdmin({
      url,
      token: readFileSync(join(operators, `${role}.token`), 'utf8').trim(),
      signal: new AbortController().signal,
    });
  const status = await as('viewer').status();
  expect(status).toMatchObject({ state: 'gathering', stage: null, clients: { known: 2, joined: 0 } });
  expect(status.waiting.map(({ client, what, heard }) => [client, what, heard])).toEqual([
    ['ann', 'join', null],
    ['ben', 'join', null],
  ]);
  await as('admin').revoke('ben');
  expect((await as('viewer').status()).waiting.map(({ client }) => client)).toEqual(['ann']);
  expect((await as('viewer').clients()).clients.map(({ state }) => state)).toEqual(['invited', 'revoked']);
  await expect(as('viewer').stop()).rejects.toThrow('the server refuses: a viewer may look');
  await expect(as('admin').export()).rejects.toThrow('has not begun');
  const copy = await as('admin').backup();
  // Journal, record, configuration, environment, metrics, two enrolment tokens and two of operators.
  expect(copy.files).toBeGreaterThanOrEqual(8);
  expect((await as('admin').stop()).state).toBe('stopping');
  expect(String(await ended)).toContain('the run can be resumed');
  await expect(as('admin').status()).rejects.toThrow('does not answer');

  const control = new AbortController();
  const again = await serving(given, { out: copy.folder, resume: true, signal: control.signal });
  const audit = await openAdmin({
    url: again.url,
    token: readFileSync(join(again.operators, 'viewer.token'), 'utf8').trim(),
    signal: new AbortController().signal,
  }).audit();
  const starts = audit.lines.filter(({ what }) => what === 'started').map(({ detail }) => detail);
  expect(starts).toHaveLength(2);
  expect(starts[0]).not.toContain('backup');
  expect(starts[1]).toMatch(/, backup \d{4}-\d\d-\d\dT[\d:.]+Z$/);
  control.abort();
  await again.events.next().catch(() => undefined);
});

test('a backup of a private run has its adapters and is not served: what was shown since would be drawn again', async () => {
  const folder = runFolder(mkdtempSync(join(root, 'p-')));
  const secret: RunConfigInput = {
    ...given,
    guards: [
      { use: 'clip', norm: 1 },
      { use: 'privacy', noise: 1, delta: 1e-5 },
    ],
    rounds: { count: 3, sampling: 'poisson', fraction: 0.5 },
  };
  const control = new AbortController();
  const { events } = await serving(secret, { out: folder.path, signal: control.signal });
  control.abort();
  await expect(events.next()).rejects.toThrow('the run can be resumed');

  const config = checkConfig(secret, knownMethods());
  const model = await openModel(embeddedModel, undefined);
  const initial = initAdapter(layoutOf(model, config.lora), config.seed);
  const people = { clients: ['ann', 'ben'], proxy: false, known: knownMethods() };
  const methods = withGuards(config, layOut(config, knownMethods(), initial.layout), people);
  const identity = storedIn(folder.journal);
  const journal = openJournal({ path: folder.journal, identity, resume: true });
  const store = openStore(join(folder.path, 'server', 'server.sqlite'), journal);
  const stage = methods[0]!.stages[0]!;
  const at = { method: 'fedit', stage: stage.name, stageIndex: 0 };
  journal.startStage(at, stage.rounds, stage.start({ adapter: initial, clients: ['ann', 'ben'], before: undefined }));
  const server = (): FederationServer => ({ store, blobs: {} }) as FederationServer;
  const signal = new AbortController().signal;
  const copy = await operationsOf({ config, folder, model, methods, journal, signal, server }).backup();
  store.close();
  journal.close();
  const exported = join(copy.folder, 'exports', `fedit-1-${stage.name}-0`);
  expect((await readAdapter(exported, projectionsOf(model.config))).factors).toEqual(initial.factors);
  await expect(serving(secret, { out: copy.folder, resume: true })).rejects.toThrow(
    /is a backup, made .* of a private run, and is not served again.*Its adapters are in .*exports/,
  );
  const own = await serving(secret, { out: folder.path, resume: true });
  await own.events.return(undefined as never);
});

/** What a run's journal says of whose it is. */
function storedIn(path: string): Record<string, string> {
  const database = readDatabase(path);
  try {
    return storedIdentity(database);
  } finally {
    database.close();
  }
}
