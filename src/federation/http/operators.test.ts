import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { finished, journalIn, run } from '../../../tests/support/federation.ts';
import { federationTools, names, rounds, stages, three, workerOf, type Served } from '../../../tests/support/served.ts';
import { backUp } from '../../run/backup.ts';
import { runFolder } from '../../run/folder.ts';
import { encodeState } from '../../tensor/encode.ts';
import { takePart } from './client/take-part.ts';
import { clientsSchema, statusSchema, type Status } from './operator-protocol.ts';
import { newSecret } from './server/keys.ts';

const tools = federationTools();
const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');

const operator = ({ server }: Pick<Served, 'server'>, role: 'admin' | 'viewer'): string =>
  readFileSync(join(server.operators, `${role}.token`), 'utf8').trim();

async function asked(
  { server }: Pick<Served, 'server'>,
  method: 'GET' | 'POST',
  path: string,
  token?: string,
  body: unknown = {},
): Promise<{ readonly status: number; readonly text: string; readonly json: unknown }> {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(method === 'POST' && { 'content-type': 'application/json' }),
    },
    ...(method === 'POST' && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, text, json: path === '/metrics' && response.ok ? undefined : JSON.parse(text) };
}

const status = async (at: Served): Promise<Status> =>
  statusSchema.parse((await asked(at, 'GET', '/v1/admin/status', operator(at, 'viewer'))).json);

/** A round goes on only when the gate is passed, as in `fedlora serve`. */
async function* gated(served: Served, signal = tools.signal): ReturnType<typeof rounds> {
  const { gate, monitor } = served.server;
  await gate.pass(signal);
  const events = rounds(served, { signal });
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value;
    monitor.tell(next.value);
    yield next.value;
    if (next.value.kind === 'round done') await gate.pass(signal);
  }
}

async function until(true_: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; !(await true_()); i++) {
    if (i > 1000) throw new Error('waited too long');
    await new Promise((done) => setTimeout(done, 10));
  }
}

describe('who may do what', () => {
  test('a viewer looks, an admin does, and nobody else either; refusals change nothing', async () => {
    const at = await tools.serve(tools.folder());
    const { key } = await tools.joined(at.server, 'ann');
    const before = at.server.store.auditLines();
    const looking = ['/metrics', '/v1/admin/status', '/v1/admin/clients'];
    const doing = ['pause', 'resume', 'stop', 'export', 'backup', 'clients/ann/revoke'];
    for (const path of looking) {
      expect((await asked(at, 'GET', path)).status).toBe(401);
      expect((await asked(at, 'GET', path, key)).status, 'a client').toBe(401);
      expect((await asked(at, 'GET', path, newSecret())).status, 'anybody').toBe(401);
      for (const role of ['admin', 'viewer'] as const)
        expect((await asked(at, 'GET', path, operator(at, role))).status).toBe(200);
    }
    for (const what of doing) {
      const path = `/v1/admin/${what}`;
      expect((await asked(at, 'POST', path, key)).status).toBe(401);
      expect(await asked(at, 'POST', path, operator(at, 'viewer'))).toMatchObject({
        status: 403,
        json: { error: { code: 'role' } },
      });
      expect((await asked(at, 'POST', path, operator(at, 'admin'), { force: true })).status, what).toBe(422);
      expect((await asked(at, 'POST', path, operator(at, 'admin'), 'no json')).status, what).toBe(400);
      expect((await asked(at, 'GET', path, operator(at, 'admin'))).status, what).toBe(405);
    }
    const admin = operator(at, 'admin');
    expect((await asked(at, 'POST', '/v1/admin/clients/nobody/revoke', admin)).status).toBe(404);
    expect((await asked(at, 'POST', '/v1/admin/clients/%ff/revoke', admin)).status).toBe(400);
    expect((await fetch(`${at.server.url}/v1/next`, { headers: { authorization: `Bearer ${admin}` } })).status).toBe(
      401,
    );
    expect(at.server.store.auditLines()).toEqual(before);
    expect(at.server.gate.shutSince()).toBeUndefined();
  });

  test('tokens are kept as hashes, expire, and a new one is made by a restart', async () => {
    const folder = tools.folder();
    const short = await tools.serve(folder, { operatorHours: 1e-9 });
    const old = operator(short, 'admin');
    expect(await asked(short, 'GET', '/v1/admin/status', old)).toMatchObject({
      status: 401,
      json: { error: { code: 'token-expired' } },
    });
    await short.close();
    expect(readFileSync(join(folder, 'server', 'server.sqlite')).includes(old)).toBe(false);
    const again = await tools.serve(folder);
    expect(operator(again, 'admin')).not.toBe(old);
    expect((await status(again)).state).toBe('running');
    await again.close();
    const third = await tools.serve(folder);
    expect(operator(third, 'admin'), 'a valid one stays').toBe(operator(again, 'admin'));
  });

  test('metrics are open where the configuration says so', async () => {
    const at = await tools.serve(tools.folder(), { openMetrics: true });
    expect((await asked(at, 'GET', '/metrics')).status).toBe(200);
    expect((await asked(at, 'GET', '/v1/admin/status')).status).toBe(401);
  });

  test('an error of the server is told, counted, and says nothing of itself; no gauge has a counter’s name', async () => {
    const errors: unknown[] = [];
    const at = await tools.serve(tools.folder(), { onError: (error) => errors.push(error) });
    const failed = await asked(at, 'POST', '/v1/admin/export', operator(at, 'admin'));
    expect(failed).toMatchObject({ status: 500, json: { error: { code: 'server' } } });
    expect(failed.text).not.toContain('no model');
    expect(errors.map(String)).toEqual(['Error: there is no model here']);
    const { text } = await asked(at, 'GET', '/metrics', operator(at, 'viewer'));
    expect(sample(text, 'fedlora_refused_requests_total{status="500",reason="server"}')).toBe(1);
    const families = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!.replace(/_total$/, ''));
    expect(families).toContain('fedlora_stage_rounds');
    expect(new Set(families).size, 'as OpenMetrics counts them').toBe(families.length);
  });
});

describe('a revoked client', () => {
  test('is shown the door, leaves its round at once, and stays out after a restart', async () => {
    const folder = tools.folder();
    const at = await tools.serve(folder);
    const admin = operator(at, 'admin');
    const ann = await tools.joined(at.server, 'ann');
    const taking = ['ben', 'cho'].map((name) => tools.takesPart(at.server, folder, name));
    const running = finished(gated(at));
    await until(async () => (await status(at)).waiting.some(({ client }) => client === 'ann'));
    for (let i = 0; i < 2; i++)
      expect((await asked(at, 'POST', '/v1/admin/clients/ann/revoke', admin)).status).toBe(200);
    await expect(ann.api.next(0)).rejects.toMatchObject({ status: 401, code: 'revoked' });
    const { result } = await running;
    await at.server.end({ how: 'finished', why: '' }, 0.5);
    await Promise.all(taking);
    for (const stage of result.stages) {
      for (const round of stage.rounds)
        expect(round.leftOut).toEqual([{ client: 'ann', reason: 'its key was revoked' }]);
    }
    const { clients } = clientsSchema.parse((await asked(at, 'GET', '/v1/admin/clients', admin)).json);
    expect(clients.map(({ client, state, updates }) => [client, state, updates])).toEqual([
      ['ann', 'revoked', 0],
      ['ben', 'joined', 5],
      ['cho', 'joined', 5],
    ]);
    expect(at.server.store.auditLines().filter(({ what }) => what === 'revoked')).toHaveLength(1);
    await at.close();
    const again = await tools.serve(folder);
    await expect(tools.api(again.server.url, ann.key).next(0)).rejects.toMatchObject({ code: 'revoked' });
  });

  test('has no use for a token that it had not used', async () => {
    const folder = tools.folder();
    const at = await tools.serve(folder);
    await asked(at, 'POST', '/v1/admin/clients/ann/revoke', operator(at, 'admin'));
    await expect(tools.joined(at.server, 'ann')).rejects.toMatchObject({ status: 401, code: 'revoked' });
    await at.close();
    expect(readdirSync((await tools.serve(folder)).server.tokens).sort()).toContain('ben.token');
  });
});

describe('a new token', () => {
  test('takes the place of a client’s key, and lets one that was revoked join again', async () => {
    const folder = tools.folder();
    const at = await tools.serve(folder);
    const admin = operator(at, 'admin');
    const ann = await tools.joined(at.server, 'ann');
    await asked(at, 'POST', '/v1/admin/clients/ann/revoke', admin);
    const made = await asked(at, 'POST', '/v1/admin/clients/ann/token', admin);
    const file = join(at.server.tokens, 'ann.token');
    expect(made).toMatchObject({ status: 200, json: { file } });
    expect(made.text).not.toContain(readFileSync(file, 'utf8').trim());
    await expect(ann.api.next(0)).rejects.toMatchObject({ status: 401, code: 'key' });
    const taking = names.map((name) => tools.takesPart(at.server, folder, name));
    const { result } = await finished(rounds(at));
    await at.server.end({ how: 'finished', why: '' }, 20);
    await Promise.all(taking);
    for (const stage of result.stages) for (const round of stage.rounds) expect(round.participants).toEqual(names);
    // Also after a restart the key from before is nobody's.
    await at.close();
    const again = await tools.serve(folder);
    await expect(tools.api(again.server.url, ann.key).next(0)).rejects.toMatchObject({ status: 401, code: 'key' });
  });

  test('takes the place of an operator’s, of the one who asks too; roles and names that are not there are refused', async () => {
    const at = await tools.serve(tools.folder());
    const before = { admin: operator(at, 'admin'), viewer: operator(at, 'viewer') };
    for (const role of ['viewer', 'admin'] as const) {
      const path = `/v1/admin/operators/${role}/token`;
      expect((await asked(at, 'POST', path, before.viewer)).status).toBeOneOf([401, 403]);
      expect(await asked(at, 'POST', path, before.admin)).toMatchObject({ status: 200 });
      expect((await asked(at, 'GET', '/v1/admin/status', before[role])).status).toBe(401);
      expect((await asked(at, 'GET', '/v1/admin/status', operator(at, role))).status).toBe(200);
    }
    const admin = operator(at, 'admin');
    expect((await asked(at, 'POST', '/v1/admin/operators/root/token', admin)).status).toBe(404);
    expect((await asked(at, 'POST', '/v1/admin/clients/nobody/token', admin)).status).toBe(404);
    expect(readdirSync(at.server.operators).sort()).toEqual(['admin.token', 'viewer.token']);
    expect(readdirSync(at.server.tokens)).not.toContain('nobody.token');
  });
});

/** A sample's value in Prometheus' text. */
const sample = (text: string, name: string): number | undefined => {
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
};

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
  const finishing = finished(gated(again));
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
