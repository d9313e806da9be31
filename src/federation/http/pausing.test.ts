import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { finished, journalIn, run } from '../../../tests/support/federation.ts';
import { asked, gated, hex, operator, sample, status, until } from '../../../tests/support/operators.ts';
import { federationTools, names, rounds, stages, three, workerOf, type Served } from '../../../tests/support/served.ts';
import { backUp } from '../../run/backup.ts';
import { runFolder } from '../../run/folder.ts';
import { takePart } from './client/take-part.ts';

const tools = federationTools();

test('a run is paused after its round, told so, kept paused over a restart, resumed, and ends with the same bits', async () => {
  const { result } = await finished(run(journalIn(tools.folder()), { stages: stages(), clients: three }));
  const folder = tools.folder();
  const first = await tools.serve(folder);
  const control = new AbortController();
  const keys = new Map<string, string>();
  for (const name of names) keys.set(name, (await tools.joined(first.server, name)).key);
  const going = (served: Served, signal: AbortSignal): Promise<unknown>[] =>
    names.map(async (name) => {
      const api = tools.api(served.server.url, keys.get(name));
      const state = await tools.state(served.server, folder, name);
      const part = takePart({ api, state, worker: workerOf(name), signal, beat: 0.05 });
      while (!(await part.next()).done);
      state.close();
    });
  expect((await asked(first, 'POST', '/v1/admin/pause', operator(first, 'admin'))).json).toMatchObject({
    state: 'pausing',
  });
  const running = finished(gated(first, control.signal)).catch((error: unknown) => error);
  await until(async () => (await status(first)).state === 'paused');
  expect((await status(first)).stage).toBeNull();
  const ann = tools.api(first.server.url, keys.get('ann'));
  expect(await ann.next(0)).toMatchObject({ kind: 'wait', why: expect.stringContaining('paused by') as string });
  control.abort();
  await running;
  await first.close();

  const again = await tools.serve(folder);
  const admin = operator(again, 'admin');
  const clients = going(again, tools.signal);
  const finishing = finished(gated(again, tools.signal));
  await until(async () => (await status(again)).state === 'paused');
  await asked(again, 'POST', '/v1/admin/resume', admin);
  const there = await finishing;
  expect(there.result.stages.map(({ shared }) => hex(shared))).toEqual(result.stages.map(({ shared }) => hex(shared)));
  const { text } = await asked(again, 'GET', '/metrics', admin);
  expect(sample(text, 'fedlora_rounds_total{method="method",stage="second",index="1"}')).toBe(2);
  expect(sample(text, 'fedlora_updates_total{outcome="received",reason=""}')).toBe(15);
  expect(sample(text, 'fedlora_updates_total{outcome="accepted",reason=""}')).toBe(15);
  expect(sample(text, 'fedlora_clients{state="joined"}')).toBe(3);
  expect(sample(text, 'fedlora_clients{state="leased"}')).toBe(3);
  expect(sample(text, 'fedlora_waiting_seconds')).toBe(0);
  expect(sample(text, 'fedlora_bytes_total{direction="in"}')).toBeGreaterThan(1000);
  expect(sample(text, 'fedlora_payloads')).toBe(0);
  await again.server.end({ how: 'finished', why: 'done' }, 10);
  await Promise.all(clients);
  expect(await status(again)).toMatchObject({ state: 'finished', why: 'done' });
  expect((await asked(again, 'POST', '/v1/admin/pause', admin)).status).toBe(409);
});

test('a backup made in the middle of a round ends, served from the copy, with the bits of the run itself', async () => {
  const { result } = await finished(run(journalIn(tools.folder()), { stages: stages(), clients: three }));
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const control = new AbortController();
  const running = finished(rounds(served, { signal: control.signal })).catch((error: unknown) => error);
  const keys = new Map<string, string>();
  for (const name of names) keys.set(name, (await tools.joined(served.server, name)).key);
  // ann's update is received and its payload kept; the round waits for the others.
  const api = tools.api(served.server.url, keys.get('ann'));
  const state = await tools.state(served.server, folder, 'ann');
  const taking = takePart({ api, state, worker: workerOf('ann'), signal: control.signal, beat: 1 });
  for (;;) {
    const next = await taking.next();
    if (next.done || next.value.kind === 'sent') break;
  }
  const { store, blobs } = served.server;
  const copy = await backUp({ folder: runFolder(folder), journal: served.journal, store, blobs });
  await taking.return({ how: 'stopped', why: '' });
  state.close();
  expect(readdirSync(join(copy.folder, 'server', 'payloads'))).toEqual([...store.digests()]);
  expect(copy.bytes).toBeGreaterThan(0);
  control.abort();
  await running;
  await served.close();

  const restored = await tools.serve(copy.folder);
  expect(restored.server.run).toBe(served.server.run);
  expect(operator(restored, 'admin')).toBe(operator(served, 'admin'));
  const worked = names.map(async (name) => {
    const own = await tools.state(restored.server, folder, name);
    const part = takePart({
      api: tools.api(restored.server.url, keys.get(name)),
      state: own,
      worker: workerOf(name),
      signal: tools.signal,
      beat: 1,
    });
    let tasks = 0;
    for (;;) {
      const next = await part.next();
      if (next.done) return tasks;
      if (next.value.kind === 'task') tasks++;
    }
  });
  const there = await finished(rounds(restored));
  await restored.server.end({ how: 'finished', why: '' }, 10);
  // What ann had sent is in the copy: it is not asked for again.
  expect(await Promise.all(worked)).toEqual([4, 5, 5]);
  expect(there.result.stages.map(({ shared }) => hex(shared))).toEqual(result.stages.map(({ shared }) => hex(shared)));
});
