import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { finished, journalIn, run } from '../../../tests/support/federation.ts';
import {
  federationTools,
  names,
  rounds,
  stages,
  three,
  trainingTask,
  type Served,
} from '../../../tests/support/served.ts';
import { encodeState } from '../../tensor/encode.ts';
import { fromPayload, toPayload } from './payload.ts';
import { runsSchema } from './protocol.ts';
import { digestOf } from './client/api.ts';
import type { Listener } from './server/listener.ts';

const tools = federationTools();
const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');

interface Two {
  readonly listener: Listener;
  readonly folders: { readonly a: string; readonly b: string };
  readonly a: Served;
  readonly b: Served;
}

async function two(): Promise<Two> {
  const listener = await tools.listen('a', 'b');
  const folders = { a: tools.folder(), b: tools.folder() };
  const a = await tools.serve(folders.a, {}, { listener, name: 'a' });
  const b = await tools.serve(folders.b, {}, { listener, name: 'b' });
  return { listener, folders, a, b };
}

const operator = ({ server }: Served, role: 'admin' | 'viewer'): string =>
  readFileSync(join(server.operators, `${role}.token`), 'utf8').trim();

const get = async (url: string, token?: string): Promise<{ readonly status: number; readonly text: string }> => {
  const response = await fetch(url, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
  return { status: response.status, text: await response.text() };
};

test('two runs on one server both end with the bits of runs of their own; one that ends leaves the other alone', async () => {
  const alone = await finished(run(journalIn(tools.folder()), { stages: stages(), clients: three }));
  const { listener, folders, a, b } = await two();
  expect([a.server.url, b.server.url]).toEqual([`${listener.url}/runs/a`, `${listener.url}/runs/b`]);
  const going = async (served: Served, folder: string): Promise<string[]> => {
    const taking = names.map((name) => tools.takesPart(served.server, folder, name));
    const { result } = await finished(rounds(served));
    await served.server.end({ how: 'finished', why: 'done' }, 20);
    await Promise.all(taking);
    return result.stages.map(({ shared }) => hex(shared));
  };
  const expected = alone.result.stages.map(({ shared }) => hex(shared));
  expect(await going(a, folders.a)).toEqual(expected);
  // The first is over, told so, and then not served any more.
  expect((await get(`${a.server.url}/v1/readiness`)).status).toBe(503);
  expect((await get(`${listener.url}/v1/readiness`)).status).toBe(200);
  await a.close();
  expect((await get(`${a.server.url}/v1/run`)).status).toBe(503);
  expect(await going(b, folders.b)).toEqual(expected);
  expect((await get(`${listener.url}/v1/readiness`)).status).toBe(503);
  expect((await get(`${listener.url}/v1/health`)).status).toBe(200);
});

test('a key, token, task or payload of one run opens nothing of another', async () => {
  const { listener, a, b } = await two();
  const control = new AbortController();
  const running = [a, b].map((at) => finished(rounds(at, { signal: control.signal })).catch((error: unknown) => error));
  const ann = await tools.joined(a.server, 'ann');
  const other = await tools.joined(b.server, 'ann');
  const task = await trainingTask(ann.api);
  const theirs = await trainingTask(other.api);
  expect(theirs.id).not.toBe(task.id);

  // Ann's key of a, at b.
  const across = tools.api(b.server.url, ann.key);
  const digest = task.sent!.digest;
  const zero = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };
  const asked = [
    across.next(0),
    across.ready({ train: 3, validation: 0, test: 0, labelledTokens: 100 }),
    across.outcome(theirs.id),
    across.progress(theirs.id, zero),
    across.submit(theirs.id, { digest, weight: 1, seconds: 1, totals: zero }),
    across.upload(digest, new Uint8Array(3)),
    across.download(theirs.sent!),
  ];
  for (const each of await Promise.allSettled(asked))
    expect(each).toMatchObject({ status: 'rejected', reason: { status: 401, code: 'key' } });
  // Ann's token of a, at b, before and after it was used.
  const request = { protocol: 1, fedlora: '1', run: b.server.run, key: ann.key };
  await expect(tools.api(b.server.url).join(request, tools.token(a.server, 'ben'))).rejects.toMatchObject({
    status: 401,
    code: 'token',
  });
  // Ann has a key of b too, and with it none of a's tasks, nor what she sent to a.
  const bytes = toPayload(fromPayload(await ann.api.download(task.sent!), 'sent'));
  await ann.api.upload(digestOf(bytes), bytes);
  await expect(other.api.outcome(task.id)).rejects.toMatchObject({ status: 404, code: 'task' });
  const sent = { digest: digestOf(bytes), weight: 3, seconds: 1, totals: zero };
  await expect(other.api.submit(theirs.id, sent)).rejects.toMatchObject({ status: 409, code: 'not-uploaded' });
  // Operators of one run are nobody at the other.
  for (const role of ['admin', 'viewer'] as const)
    for (const path of ['/metrics', '/v1/admin/status', '/v1/admin/clients'])
      expect((await get(`${b.server.url}${path}`, operator(a, role))).status).toBe(401);
  const stop = await fetch(`${b.server.url}/v1/admin/stop`, {
    method: 'POST',
    headers: { authorization: `Bearer ${operator(a, 'admin')}`, 'content-type': 'application/json' },
    body: '{}',
  });
  expect(stop.status).toBe(401);
  // A path cannot climb from one run to another.
  expect((await get(`${listener.url}/runs/a/%2e%2e/b/v1/admin/status`, operator(a, 'admin'))).status).toBe(401);
  expect((await get(`${listener.url}/runs/c/v1/run`)).status).toBe(404);
  expect((await get(`${listener.url}/v1/next`, ann.key)).status).toBe(404);
  control.abort();
  await Promise.all(running);
});

test('the whole server lists its runs and gives the metrics of those that a token is for', async () => {
  const listener = await tools.listen('a', 'b', 'late');
  const a = await tools.serve(tools.folder(), {}, { listener, name: 'a' });
  const b = await tools.serve(tools.folder(), { openMetrics: true }, { listener, name: 'b' });
  await b.server.end({ how: 'stopped', why: 'too few clients' }, 0);
  const { runs } = runsSchema.parse(JSON.parse((await get(`${listener.url}/v1/runs`)).text));
  expect(runs.map(({ name, path, description, why }) => [name, path, description?.run, why])).toEqual([
    ['a', '/runs/a', a.server.run, null],
    ['b', '/runs/b', b.server.run, 'too few clients'],
    ['late', '/runs/late', undefined, 'the server is starting; try again'],
  ]);
  const open = (await get(`${listener.url}/metrics`)).text;
  const both = (await get(`${listener.url}/metrics`, operator(a, 'viewer'))).text;
  const known = (run: string): string => `fedlora_clients{run="${run}",state="known"} 3`;
  expect(open).toContain(known('b'));
  expect(open).not.toContain('run="a"');
  for (const run of ['a', 'b']) expect(both).toContain(known(run));
  expect(both.match(/^# TYPE fedlora_clients gauge$/gm)).toHaveLength(1);
  expect(both.match(/^fedlora_bytes_total\{direction="in"\} [1-9]/gm)).toHaveLength(1);
  // Connections are the server's, so their bytes are no run's.
  expect((await get(`${a.server.url}/metrics`, operator(a, 'viewer'))).text).not.toContain('bytes_total');
  await b.close();
  expect((await get(`${listener.url}/metrics`)).status).toBe(401);
  // A server of one run has it at the root.
  const only = await tools.serve(tools.folder());
  const list = runsSchema.parse(JSON.parse((await get(`${only.server.url}/v1/runs`)).text));
  expect(list.runs).toMatchObject([{ name: '', path: '', why: null }]);
});
