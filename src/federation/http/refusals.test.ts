import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { heldRound, message, raw, refused, send, traces, zero } from '../../../tests/support/held-round.ts';
import { federationTools } from '../../../tests/support/served.ts';
import { digestOf } from './client/api.ts';
import { toPayload } from './payload.ts';
import { MESSAGE_BYTES, PROTOCOL } from './protocol.ts';
import { newSecret } from './server/keys.ts';

const tools = federationTools();

const asJson = (value: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: typeof value === 'string' ? value : JSON.stringify(value),
});

describe('what does not fit is refused in words, and changes nothing', () => {
  test('tasks of others, of another run, and messages played again', async () => {
    const at = await heldRound(tools);
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
    const at = await heldRound(tools);
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
