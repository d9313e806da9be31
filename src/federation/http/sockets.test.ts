import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { describe, expect, onTestFinished, test } from 'vitest';
import { blockingProxy } from '../../../tests/support/blocking-proxy.ts';
import { cuttingProxy } from '../../../tests/support/cutting-proxy.ts';
import { finished, journalIn, layout, run } from '../../../tests/support/federation.ts';
import {
  described,
  federationTools,
  names,
  rounds,
  stages,
  three,
  type Served,
} from '../../../tests/support/served.ts';
import { averaging } from '../../../tests/support/stages.ts';
import { encodeState } from '../../tensor/encode.ts';
import { stream } from '../../tensor/random.ts';
import type { Api } from './client/api.ts';
import { openLine, type Line } from './client/line.ts';
import { reach, type Reach } from './client/reach.ts';
import { MESSAGE_BYTES, SOCKET_PATH, SOCKETS_EACH } from './protocol.ts';
import { Refusal } from './refusal.ts';
import { newSecret } from './server/keys.ts';
import { CLOSED } from './server/sockets.ts';

const tools = federationTools();
const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');
const zero = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };
const one = [averaging(layout, { rounds: 1, steps: 1 })];

const over =
  (url: string, change: (api: Api) => Api = (api) => api, more: { pause?: number; handshake?: number } = {}) =>
  (api: Api, key: string): Reach => {
    const reached = reach(change(api), { url, key, signal: tools.signal, ...more });
    onTestFinished(() => reached.close());
    return reached;
  };

async function line(url: string, key: string): Promise<Line> {
  const opened = await openLine({ url, key, signal: tools.signal });
  onTestFinished(() => opened.close());
  return opened;
}

/** A WebSocket without this project's client, and the code with which it will have been closed. */
async function raw(url: string, key: string, more = {}): Promise<{ ws: WebSocket; closed: Promise<number> }> {
  const ws = new WebSocket(`${url}${SOCKET_PATH}`, { headers: { authorization: `Bearer ${key}` }, ...more });
  onTestFinished(() => ws.terminate());
  const closed = new Promise<number>((done) => ws.on('close', done));
  ws.on('error', () => undefined);
  await new Promise<void>((done) => ws.once('open', () => done()));
  return { ws, closed };
}

/** The status of the answer to an upgrade. */
async function status(url: string, headers: Record<string, string>): Promise<number | undefined> {
  const ws = new WebSocket(`${url}${SOCKET_PATH}`, { headers });
  return new Promise((done) => {
    ws.on('error', () => undefined);
    ws.on('open', () => done(101));
    ws.on('unexpected-response', (_, response) => {
      response.resume();
      done(response.statusCode);
    });
  });
}

async function revoke({ server }: Served, name: string): Promise<void> {
  const token = readFileSync(join(server.operators, 'admin.token'), 'utf8').trim();
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const url = `${server.url}/v1/admin/clients/${name}/revoke`;
  expect((await fetch(url, { method: 'POST', headers, body: '{}' })).status).toBe(200);
}

describe('a federation over WebSockets', () => {
  test('gives the simulation’s bits without a poll, and every client is told of the end', async () => {
    const { result } = await finished(run(journalIn(tools.folder()), { stages: stages(), clients: three }));
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const never = (): never => {
      throw new Error('this went over HTTP');
    };
    const unpolled = over(served.server.url, (api) => ({ ...api, next: never, progress: never }));
    const taking = names.map((name) => tools.takesPart(served.server, folder, name, { over: unpolled }));
    const there = await finished(rounds(served));
    await served.server.end({ how: 'finished', why: '' }, 10);
    const ended = await Promise.all(taking);
    expect(there.result.stages.map(({ shared }) => hex(shared))).toEqual(
      result.stages.map(({ shared }) => hex(shared)),
    );
    for (const { events } of ended) {
      expect(events.filter(({ kind }) => kind === 'task')).toHaveLength(5);
      expect(events.filter(({ kind }) => kind === 'polling')).toEqual([]);
    }
  });

  test('a client that waits is told why, and of its task in the moment it is there', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const { key } = await tools.joined(served.server, 'ann');
    const ann = await line(served.server.url, key);
    expect(await ann.next(5)).toEqual({ kind: 'wait', why: 'nothing to do at present' });
    const waiting = ann.next(20);
    const control = new AbortController();
    const going = finished(rounds(served, { stages: one, signal: control.signal })).catch((error: unknown) => error);
    const began = performance.now();
    const told = await waiting;
    expect(performance.now() - began).toBeLessThan(5000);
    if (told?.kind !== 'task') throw new Error('this is no task');
    // Signs of life: heard, and refused as by HTTP.
    expect(await ann.progress(told.task.id, { ...zero, tokens: 3, processed: 3 })).toBe(true);
    expect(served.server.desk.totals(told.task.id)).toMatchObject({ tokens: 3 });
    await expect(ann.progress(told.task.id, zero)).rejects.toMatchObject({ status: 422, code: 'backwards' });
    const { key: other } = await tools.joined(served.server, 'ben');
    const ben = await line(served.server.url, other);
    await expect(ben.progress(told.task.id, zero)).rejects.toMatchObject({ status: 404, code: 'task' });
    await expect(ben.progress(told.task.id, zero)).rejects.toBeInstanceOf(Refusal);
    control.abort();
    await going;
  });

  test('a proxy that takes no upgrades is said once, and the run goes on by polling', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const proxy = await blockingProxy(served.server.url);
    onTestFinished(() => proxy.close());
    // However slow this machine is: a WebSocket is tried once, and the proxy's answer waited for.
    const more = { url: proxy.url, over: over(proxy.url, undefined, { pause: 600, handshake: 120 }), stages: one };
    const taking = names.map((name) => tools.takesPart(served.server, folder, name, more));
    await finished(rounds(served, { stages: one }));
    await served.server.end({ how: 'finished', why: '' }, 120);
    for (const { events } of await Promise.all(taking)) {
      expect(events.filter(({ kind }) => kind === 'polling')).toEqual([
        { kind: 'polling', why: 'the answer to the upgrade was 403' },
      ]);
      expect(events.filter(({ kind }) => kind === 'accepted')).toHaveLength(1);
    }
    expect(proxy.upgrades()).toBe(3);
    expect(proxy.paths).toContain('/v1/next?wait=20');
  });

  test('a connection that breaks while a client waits leaves it polling', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder);
    // It cuts nothing by itself.
    const proxy = await cuttingProxy(served.server.url, stream(1, 'cuts'), 2 ** 31);
    const taking = tools.takesPart(served.server, folder, 'ann', { over: over(proxy.url), stages: one });
    while (served.server.sockets() === 0) await sleep(20);
    await proxy.close();
    const others = names.slice(1).map((name) => tools.takesPart(served.server, folder, name, { stages: one }));
    await finished(rounds(served, { stages: one }));
    await served.server.end({ how: 'finished', why: '' }, 10);
    const { events } = await taking;
    expect(events.filter(({ kind }) => kind === 'polling')).toHaveLength(1);
    expect(events.filter(({ kind }) => kind === 'accepted')).toHaveLength(1);
    await Promise.all(others);
  });
});

describe('a WebSocket', () => {
  test('is for a client’s key only', async () => {
    const { server } = await tools.serve(tools.folder());
    const { key } = await tools.joined(server, 'ann');
    const operator = readFileSync(join(server.operators, 'admin.token'), 'utf8').trim();
    expect(await status(server.url, {})).toBe(401);
    expect(await status(server.url, { authorization: `Bearer ${newSecret()}` })).toBe(401);
    expect(await status(server.url, { authorization: `Bearer ${operator}` })).toBe(401);
    expect(await status(`${server.url}/v1`, { authorization: `Bearer ${key}` })).toBe(404);
    expect(await status(server.url, { authorization: `Bearer ${key}` })).toBe(101);
    const headers = { authorization: `Bearer ${key}` };
    const plain = await fetch(`${server.url}${SOCKET_PATH}`, { headers });
    expect([plain.status, plain.headers.get('upgrade')]).toEqual([426, 'websocket']);
  });

  test('ends with its client’s revocation, whose polls are refused', async () => {
    const served = await tools.serve(tools.folder());
    const { api, key } = await tools.joined(served.server, 'ann');
    const { closed } = await raw(served.server.url, key);
    const reached = over(served.server.url)(api, key);
    const waiting = (async () => {
      for (;;) await reached.next(20);
    })().catch((error: unknown) => error);
    await revoke(served, 'ann');
    expect(await closed).toBe(CLOSED.revoked);
    expect(await waiting).toMatchObject({ status: 401, code: 'revoked' });
    expect(await status(served.server.url, { authorization: `Bearer ${key}` })).toBe(401);
  });

  test('ends soon after its client’s key has expired', async () => {
    const seconds = 1.5;
    const at = await tools.serve(tools.folder(), {
      keyDays: seconds / 86_400,
      description: { ...described, lease: 0.6 },
    });
    const began = performance.now();
    const { api, key } = await tools.joined(at.server, 'ann');
    const { ws, closed } = await raw(at.server.url, key);
    ws.send('{"kind":"next"}');
    expect(await closed).toBe(CLOSED.revoked);
    expect(performance.now() - began).toBeGreaterThan(seconds * 1000 - 50);
    await expect(api.next(0)).rejects.toMatchObject({ status: 401, code: 'key-expired' });
    // Nor is it waited for at the end.
    const ended = performance.now();
    await at.server.end({ how: 'finished', why: '' }, 4);
    expect(performance.now() - ended).toBeLessThan(3000);
  });

  test.each([
    ['what is no JSON', 'garbage', CLOSED.notAsked],
    ['another message', '{"kind":"task"}', CLOSED.notAsked],
    ['a field too many', '{"kind":"next","wait":1}', CLOSED.notAsked],
    ['bytes', Buffer.from('{"kind":"next"}'), CLOSED.notText],
    ['more bytes than a message has', JSON.stringify({ kind: 'next', pad: 'x'.repeat(MESSAGE_BYTES) }), 1009],
  ])('is closed at %s, and the server goes on', async (_, sent, code) => {
    const { server } = await tools.serve(tools.folder());
    const { api, key } = await tools.joined(server, 'ann');
    const { ws, closed } = await raw(server.url, key);
    ws.send(sent);
    expect(await closed).toBe(code);
    expect(await api.next(0)).toEqual({ kind: 'wait', why: 'nothing to do at present' });
  });

  test.each([
    ['says', (ws: WebSocket) => ws.send('{"kind":"next"}')],
    ['pings', (ws: WebSocket) => ws.ping()],
    ['answers, unasked,', (ws: WebSocket) => ws.pong()],
  ])('that %s too much too fast is closed', async (_, say) => {
    const { server } = await tools.serve(tools.folder(), { rate: { perSecond: 1, burst: 10 } });
    const { key } = await tools.joined(server, 'ann');
    const { ws, closed } = await raw(server.url, key);
    for (let i = 0; i < 20; i++) say(ws);
    expect(await closed).toBe(CLOSED.slow);
  });

  test('gives way where its client opens too many', async () => {
    const { server } = await tools.serve(tools.folder());
    const { key } = await tools.joined(server, 'ann');
    const all = [];
    for (let i = 0; i <= SOCKETS_EACH; i++) all.push(await raw(server.url, key));
    expect(await all[0]!.closed).toBe(CLOSED.replaced);
    await expect.poll(() => server.sockets()).toBe(SOCKETS_EACH);
    // Also where many come at once: none that is still closing keeps a place.
    await Promise.all(Array.from({ length: 20 }, () => raw(server.url, key)));
    expect(server.sockets()).toBe(SOCKETS_EACH);
  });

  test('that does not answer pings is given up, and its client not heard of any more', async () => {
    const { server } = await tools.serve(tools.folder(), { description: { ...described, lease: 1 } });
    const { key } = await tools.joined(server, 'ann');
    const { closed } = await raw(server.url, key, { autoPong: false });
    const heard = server.desk.lastHeard('ann');
    expect(await closed).toBe(1006);
    expect(server.desk.lastHeard('ann')).toBe(heard);
    await expect.poll(() => server.sockets()).toBe(0);
    // One that answers stays.
    const { ws } = await raw(server.url, key);
    await sleep(1500);
    expect(ws.readyState).toBe(WebSocket.OPEN);
    expect(server.desk.lastHeard('ann')!).toBeGreaterThan(heard! + 1000);
  });
});
