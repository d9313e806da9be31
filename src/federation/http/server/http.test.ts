import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createConnection } from 'node:net';
import { expect, test } from 'vitest';
import { federationTools, noTask } from '../../../../tests/support/served.ts';
import { newSecret } from './keys.ts';
import { operatorRoutes } from './operator-routes.ts';
import { routes } from './routes.ts';

const tools = federationTools();

test('every route takes the kind of key that it says, and no other', async () => {
  const { server } = await tools.serve(tools.folder());
  const { key: client } = await tools.joined(server, 'ann');
  const operator = (role: string): string => readFileSync(join(server.operators, `${role}.token`), 'utf8').trim();
  const secrets = { client, viewer: operator('viewer'), admin: operator('admin'), unknown: newSecret(), none: '' };
  const allowed = { client: ['client'], viewer: ['viewer', 'admin'], admin: ['admin'] };
  for (const { method, path, about } of [...routes, ...operatorRoutes]) {
    if (about.who === 'anyone' || about.who === 'enrolment') continue;
    for (const [kind, secret] of Object.entries(secrets)) {
      if (allowed[about.who].includes(kind)) continue;
      const { status } = await fetch(`${server.url}${path.replace(/\{\w+\}/, 'a')}`, {
        method,
        headers: secret === '' ? {} : { authorization: `Bearer ${secret}` },
      });
      expect(status, `${method} ${path} with ${kind}`).toBe(kind === 'viewer' && about.who === 'admin' ? 403 : 401);
    }
  }
});

test('a payload of one client’s task is nobody else’s, and not its own any more once the task has ended', async () => {
  const { server } = await tools.serve(tools.folder());
  const [ann, ben] = [await tools.joined(server, 'ann'), await tools.joined(server, 'ben')];
  const blob = await server.blobs.put(() => [Uint8Array.of(1, 2, 3)]);
  const statuses = (): Promise<number[]> =>
    Promise.all(
      [ann.key, ben.key].map(async (key) => {
        const headers = { authorization: `Bearer ${key}` };
        return (await fetch(`${server.url}/v1/blobs/${blob.digest}`, { headers })).status;
      }),
    );
  const id = 'b'.repeat(32);
  const message = { kind: 'evaluate', id, of: 'base', rows: 'test', place: null, model: blob } as const;
  const control = new AbortController();
  const offered = server.desk.offer({ ...noTask, client: 'ann', message, blobs: [blob] }, control.signal).next();
  expect(await statuses()).toEqual([200, 404]);
  control.abort();
  await expect(offered).rejects.toThrow();
  expect(await statuses()).toEqual([404, 404]);
});

test('a client has 64 requests answered at a time, and others have theirs meanwhile', async () => {
  const { server } = await tools.serve(tools.folder());
  const [ann, ben] = [await tools.joined(server, 'ann'), await tools.joined(server, 'ben')];
  const control = new AbortController();
  const ask = (key: string): Promise<number> =>
    fetch(`${server.url}/v1/next?wait=20`, {
      headers: { authorization: `Bearer ${key}` },
      signal: control.signal,
    }).then(({ status }) => status);
  const waiting = Array.from({ length: 64 }, () => ask(ann.key).catch(() => 0));
  await expect.poll(() => ask(ann.key), { timeout: 10_000 }).toBe(429);
  expect(await ben.api.next(0)).toMatchObject({ kind: 'wait' });
  control.abort();
  await Promise.all(waiting);
  await expect.poll(() => ann.api.next(0)).toMatchObject({ kind: 'wait' });
});

test('who does not read an answer is left, and its connection closed', async () => {
  const { server } = await tools.serve(tools.folder(), { stall: 300 });
  const { key } = await tools.joined(server, 'ann');
  const { digest } = await server.blobs.put(() => [new Uint8Array(2 ** 26)]);
  server.desk.mayFetch = () => true;
  const { hostname, port } = new URL(server.url);
  const socket = createConnection(Number(port), hostname);
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.on('error', () => undefined);
  socket.write(`GET /v1/blobs/${digest} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${key}\r\n\r\n`);
  const [head] = await new Promise<[Buffer]>((resolve) => socket.once('data', (data: Buffer) => resolve([data])));
  expect(head.toString('latin1')).toMatch(/^HTTP\/1\.1 200/);
  socket.pause();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  // What lay in the system's buffers can still be read; then there is the end, far before that of the payload.
  socket.resume();
  await closed;
  expect(socket.bytesRead).toBeLessThan(2 ** 26);
});

test('what a client gives as a reason is one line of log and audit', async () => {
  const { server } = await tools.serve(tools.folder());
  const { api } = await tools.joined(server, 'ann');
  const id = 'a'.repeat(32);
  const offer = {
    message: { kind: 'evaluate', id, of: 'base', rows: 'test', place: null, model: null } as const,
    client: 'ann',
    place: undefined,
    round: 0,
    blobs: [],
    expected: new Map(),
    sent: new Map(),
  };
  const ended = expect(server.desk.offer(offer, tools.signal).next()).rejects.toThrow(
    /^full serving on http:\/\/evil ok$/,
  );
  await api.fail(id, 'full\r\nserving on http://evil\u2028\0ok');
  await ended;
  expect(server.store.auditLines(0, 100).at(-1)?.detail).toBe(`${id} full serving on http://evil ok`);
});
