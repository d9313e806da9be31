import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { federationTools, names, rounds, type Served } from '../../../tests/support/served.ts';
import { collect } from '../../../tests/support/collect.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { mapTensors } from '../../tensor/tensors.ts';
import { digestOf, type Api } from './client/api.ts';
import { fromPayload, toPayload } from './payload.ts';
import { MESSAGE_BYTES, PROTOCOL, type TrainMessage, type UpdateMessage } from './protocol.ts';
import { Refusal } from './refusal.ts';
import { newSecret } from './server/keys.ts';

const tools = federationTools();

const zero = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };
const message = (digest: string | null, more: Partial<UpdateMessage> = {}): UpdateMessage => ({
  digest,
  weight: 3,
  seconds: 1,
  totals: zero,
  ...more,
});

interface Scene extends Served {
  readonly folder: string;
  readonly ann: { readonly api: Api; readonly key: string };
  readonly ben: { readonly api: Api; readonly key: string };
  readonly task: TrainMessage;
  readonly sent: Tensors;
  stop(): Promise<void>;
}

/** A server whose first round waits for everybody; ann has fetched her task. */
async function scene(): Promise<Scene> {
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const ann = await tools.joined(served.server, 'ann');
  const ben = await tools.joined(served.server, 'ben');
  const control = new AbortController();
  const running = collect(rounds(served, { signal: control.signal })).catch((error: unknown) => error);
  const next = await ann.api.next(20);
  if (next.kind !== 'task' || next.task.kind !== 'train') throw new Error(`expected a task, got ${next.kind}`);
  const { task } = next;
  const sent = fromPayload(await ann.api.download(task.sent!), 'sent');
  const stop = async (): Promise<void> => {
    control.abort();
    await running;
  };
  return { ...served, folder, ann, ben, task, sent, stop };
}

/** Everything that a refused request could have changed. */
function traces({ server, journal, folder, task }: Scene): unknown {
  const at = { ...task.place };
  return {
    result: server.store.task(task.id)?.result ?? null,
    received: server.store.auditLines().filter(({ what }) => what === 'received'),
    open: server.desk.waiting().map(({ client, task: { id } }) => [client, id]),
    payloads: readdirSync(join(folder, 'server', 'payloads')).sort(),
    rounds: journal.rounds(at),
  };
}

async function refused(asked: Promise<unknown>): Promise<Pick<Refusal, 'status' | 'code' | 'message'>> {
  try {
    await asked;
  } catch (error) {
    if (error instanceof Refusal) return { status: error.status, code: error.code, message: error.message };
    throw error;
  }
  throw new Error('this was not refused');
}

/** Sends these tensors as ann's update. */
async function send({ ann, task }: Scene, tensors: Tensors, more: Partial<UpdateMessage> = {}): Promise<unknown> {
  const bytes = toPayload(tensors);
  await ann.api.upload(digestOf(bytes), bytes);
  return ann.api.submit(task.id, message(digestOf(bytes), more));
}

const raw = (at: Scene, path: string, options: RequestInit, key: string = at.ann.key): Promise<Response> =>
  fetch(`${at.server.url}/v1/${path}`, {
    ...options,
    headers: { authorization: `Bearer ${key}`, ...(options.headers as Record<string, string>) },
  });

const asJson = (value: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: typeof value === 'string' ? value : JSON.stringify(value),
});

describe('what does not fit is refused in words, and changes nothing', () => {
  test('updates that are not what the task asks for', async () => {
    const at = await scene();
    const before = traces(at);
    const { sent } = at;
    const [first, ...others] = [...sent.keys()];
    const poisoned = mapTensors(sent, ({ shape, data }, name) => ({
      shape,
      data: data.map((value, i) => (name === first && i === 1 ? NaN : value)),
    }));
    const flat = mapTensors(sent, ({ data }) => ({ shape: [data.length], data }));
    const fewer = new Map([...sent].filter(([name]) => others.includes(name)));

    expect(await refused(send(at, poisoned))).toMatchObject({
      status: 422,
      message: `tensor “${first}” of its update holds NaN or infinity`,
    });
    expect(await refused(send(at, flat))).toMatchObject({ status: 422, code: 'shapes' });
    expect(await refused(send(at, fewer))).toMatchObject({ status: 422, code: 'shapes' });
    expect(await refused(at.ann.api.submit(at.task.id, message(null)))).toMatchObject({
      status: 422,
      code: 'no-tensors',
    });
    const never = digestOf(Uint8Array.of(1));
    expect(await refused(at.ann.api.submit(at.task.id, message(never)))).toMatchObject({
      status: 409,
      code: 'not-uploaded',
    });
    expect(await refused(send(at, sent, { weight: 0 }))).toMatchObject({ status: 422, code: 'message' });
    expect(await refused(send(at, sent, { weight: 1000 }))).toMatchObject({ status: 422, code: 'weight' });
    const garbage = new TextEncoder().encode('this is no safetensors file');
    await at.ann.api.upload(digestOf(garbage), garbage);
    expect(await refused(at.ann.api.submit(at.task.id, message(digestOf(garbage))))).toMatchObject({
      status: 422,
      code: 'payload',
    });
    expect(traces(at)).toEqual(before);

    // The same task takes the right update after all that.
    expect(await send(at, sent)).toEqual({ outcome: 'received' });
    await at.stop();
  });

  test('bytes with another digest, too many of them, out of order, or from nobody', async () => {
    const at = await scene();
    const before = traces(at);
    const bytes = toPayload(at.sent);
    const put = (digest: string, range: string, body: Uint8Array, key?: string): Promise<Response> =>
      raw(at, `uploads/${digest}`, { method: 'PUT', headers: { 'content-range': range }, body: body as BodyInit }, key);
    const whole = `bytes 0-${bytes.length - 1}/${bytes.length}`;

    const other = await put('a'.repeat(64), whole, bytes);
    expect(other.status).toBe(422);
    expect(await other.text()).toContain(digestOf(bytes));
    expect(await at.ann.api.outcome(at.task.id)).toEqual({ outcome: 'open' });

    const huge = await put('b'.repeat(64), 'bytes 0-9/1000000000', bytes.subarray(0, 10));
    expect(huge.status).toBe(413);
    expect(await huge.json()).toMatchObject({ error: { code: 'too-large' } });

    const digest = digestOf(bytes);
    expect((await put(digest, `bytes 0-9/${bytes.length}`, bytes.subarray(0, 10))).status).toBe(200);
    const gap = await put(digest, `bytes 20-29/${bytes.length}`, bytes.subarray(20, 30));
    expect([gap.status, await gap.json()]).toMatchObject([409, { error: { code: 'order' }, received: 10 }]);
    expect((await put(digest, `bytes 10-19/${bytes.length}`, bytes.subarray(0, 5))).status).toBe(411);
    expect((await put(digest, 'bytes=0-4', bytes.subarray(0, 5))).status).toBe(400);
    expect((await put('../../journal', whole, bytes)).status).toBeOneOf([400, 404]);
    expect((await put(digest, whole, bytes, newSecret())).status).toBe(401);
    expect(traces(at)).toEqual(before);
    // Ann's beginning is still hers alone, and goes on.
    expect(await (await raw(at, `uploads/${digest}`, {}, at.ben.key)).json()).toEqual({ received: 0, complete: false });
    expect(await send(at, at.sent)).toEqual({ outcome: 'received' });
    await at.stop();
  });

  test('tasks of others, of another run, and messages played again', async () => {
    const at = await scene();
    const bytes = toPayload(at.sent);
    await at.ben.api.upload(digestOf(bytes), bytes);
    const before = traces(at);
    const theirs = await refused(at.ben.api.submit(at.task.id, message(digestOf(bytes))));
    const none = await refused(at.ben.api.submit('0'.repeat(32), message(digestOf(bytes))));
    expect(theirs).toEqual({ status: 404, code: 'task', message: 'you have no such task in this run' });
    expect(none).toEqual(theirs);
    expect(await refused(at.ben.api.outcome(at.task.id))).toEqual(theirs);
    expect(await refused(at.ben.api.progress(at.task.id, zero))).toEqual(theirs);
    expect(await refused(at.ben.api.fail(at.task.id, 'no'))).toEqual(theirs);
    expect(await refused(at.ben.api.answer(at.task.id, null))).toEqual(theirs);
    expect(traces(at)).toEqual(before);

    expect(await send(at, at.sent)).toEqual({ outcome: 'received' });
    const after = traces(at);
    // The same again has the same answer; another one is refused.
    expect(await at.ann.api.submit(at.task.id, message(digestOf(bytes)))).toEqual({ outcome: 'received' });
    expect(await refused(at.ann.api.submit(at.task.id, message('c'.repeat(64))))).toMatchObject({
      status: 409,
      code: 'other-update',
    });
    expect(await refused(at.ann.api.fail(at.task.id, 'I take it back'))).toMatchObject({ status: 409, code: 'late' });
    expect(traces(at)).toEqual(after);
    await at.stop();
  });

  test('updates that come too late are told why', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const [ann, ben, cho] = await Promise.all(names.map((name) => tools.joined(served.server, name)));
    const running = collect(rounds(served, { deadline: 2 })).catch((error: unknown) => error);
    const [mine] = await Promise.all(
      [ann!, ben!, cho!].map(async ({ api }, i) => {
        const next = await api.next(20);
        if (next.kind !== 'task' || next.task.kind !== 'train') throw new Error(next.kind);
        if (i === 0) return next.task;
        const bytes = await api.download(next.task.sent!);
        await api.upload(digestOf(bytes), bytes);
        await api.submit(next.task.id, message(digestOf(bytes)));
        return next.task;
      }),
    );
    // The next round has begun without ann.
    for (let i = 0; served.journal.rounds(mine!.place).length === 0 && i < 400; i++)
      await new Promise((done) => setTimeout(done, 25));
    const reason = 'took longer than the deadline of 2 s';
    expect(await ann!.api.outcome(mine!.id)).toEqual({ outcome: 'refused', reason });
    const bytes = toPayload(fromPayload(await ann!.api.download((await taskOf(ann!.api)).sent!), 'sent'));
    await ann!.api.upload(digestOf(bytes), bytes);
    expect(await refused(ann!.api.submit(mine!.id, message(digestOf(bytes))))).toEqual({
      status: 409,
      code: 'late',
      message: reason,
    });
    expect(served.journal.rounds(mine!.place)[0]).toMatchObject({
      participants: ['ben', 'cho'],
      leftOut: [{ client: 'ann', reason }],
    });
    const readiness = async (): Promise<number> => (await fetch(`${served.server.url}/v1/readiness`)).status;
    expect(await readiness()).toBe(200);
    await served.server.end({ how: 'stopped', why: 'the test is over' }, 0);
    expect(await readiness()).toBe(503);
    expect(await ann!.api.next(20)).toEqual({ kind: 'over', how: 'stopped', why: 'the test is over' });
    await running;
  });

  test('tokens and keys', async () => {
    const folder = tools.folder();
    const { server } = await tools.serve(folder);
    const stranger = tools.api(server.url);
    const request = { protocol: PROTOCOL, fedlora: '1', run: server.run, key: newSecret() };
    const token = tools.token(server, 'ann');
    expect(await refused(stranger.join(request, newSecret()))).toMatchObject({ status: 401, code: 'token' });
    expect(await refused(stranger.join({ ...request, protocol: 2 }, token))).toMatchObject({
      status: 409,
      code: 'protocol',
    });
    expect(await refused(stranger.join({ ...request, run: 'f'.repeat(32) }, token))).toMatchObject({
      status: 409,
      code: 'run',
    });
    expect(await refused(stranger.next(0))).toMatchObject({ status: 401 });
    expect(await refused(tools.api(server.url, newSecret()).next(0))).toMatchObject({ status: 401, code: 'key' });
    expect(await stranger.join(request, token)).toBe('ann');
    expect(await stranger.join(request, token)).toBe('ann');
    expect(await refused(stranger.join({ ...request, key: newSecret() }, token))).toMatchObject({
      status: 409,
      code: 'token-used',
    });
    const api = tools.api(server.url, request.key);
    await api.ready({ train: 3, validation: 0, test: 0, labelledTokens: 100 });
    expect(await refused(api.ready({ train: 4, validation: 0, test: 0, labelledTokens: 100 }))).toMatchObject({
      status: 409,
      code: 'data',
    });

    // The token's file is gone, and neither token nor key is anywhere on the server's disk.
    expect(readdirSync(server.tokens).sort()).toEqual(['ben.token', 'cho.token']);
    const disk = ['server/server.sqlite', 'server/server.sqlite-wal', 'journal.sqlite', 'journal.sqlite-wal']
      .map((name) => readFileSync(join(folder, name), 'latin1'))
      .join('');
    expect(disk).toContain('joined');
    for (const secret of [token, request.key]) expect(disk).not.toContain(secret);

    const old = await tools.serve(tools.folder(), { tokenHours: 0 });
    const expired = { ...request, run: old.server.run };
    expect(await refused(tools.api(old.server.url).join(expired, tools.token(old.server, 'ann')))).toMatchObject({
      status: 401,
      code: 'token-expired',
    });
  });

  test('messages that are malformed, too large, too many or to nowhere', async () => {
    const at = await scene();
    const before = traces(at);
    const progress = `tasks/${at.task.id}/progress`;
    const status = async (answer: Promise<Response>): Promise<unknown> => {
      const response = await answer;
      const { error } = (await response.json()) as { error: { code: string; message: string } };
      expect(error.message.length).toBeGreaterThan(5);
      return [response.status, error.code];
    };
    expect(await status(raw(at, progress, asJson('{')))).toEqual([400, 'json']);
    expect(await status(raw(at, progress, asJson({ ...zero, more: 1 })))).toEqual([422, 'message']);
    expect(await status(raw(at, progress, asJson({ ...zero, step: -1 })))).toEqual([422, 'message']);
    expect(await status(raw(at, progress, { method: 'POST', body: '{}' }))).toEqual([415, 'content-type']);
    expect(await status(raw(at, progress, asJson('x'.repeat(MESSAGE_BYTES + 1))))).toEqual([413, 'too-large']);
    expect(await status(raw(at, progress, { method: 'DELETE' }))).toEqual([405, 'method']);
    expect(await status(raw(at, 'nowhere', {}))).toEqual([404, 'path']);
    expect(await status(raw(at, 'next?wait=26', {}))).toEqual([400, 'wait']);
    expect(await status(raw(at, `blobs/${'d'.repeat(64)}`, {}))).toEqual([404, 'blob']);
    expect(await status(raw(at, `blobs/${at.task.sent!.digest}`, {}, newSecret()))).toEqual([401, 'key']);
    expect(traces(at)).toEqual(before);
    await at.stop();

    const { server } = await tools.serve(tools.folder(), { rate: { perSecond: 0.001, burst: 3 } });
    const answers = await Promise.all([0, 1, 2, 3, 4].map(() => fetch(`${server.url}/v1/health`)));
    expect(answers.map((answer) => answer.status).sort((a, b) => a - b)).toEqual([200, 200, 200, 429, 429]);
    expect(Number(answers.find((answer) => answer.status === 429)!.headers.get('retry-after'))).toBeGreaterThan(100);
  });
});

async function taskOf(api: Api): Promise<TrainMessage> {
  const next = await api.next(20);
  if (next.kind !== 'task' || next.task.kind !== 'train') throw new Error(next.kind);
  return next.task;
}
