import { connect, type Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { federationTools } from '../../../../tests/support/served.ts';
import { roomOf } from './connections.ts';

const tools = federationTools();

/** A connection, and whether it was ended by the other side. */
async function connected(url: string, said = ''): Promise<{ readonly socket: Socket; readonly closed: () => boolean }> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let closed = false;
  socket.on('error', () => undefined);
  socket.on('close', () => (closed = true));
  await new Promise((resolve) => socket.once('connect', resolve));
  const answered = new Promise((resolve) => socket.once('data', resolve));
  if (said !== '') {
    socket.write(said);
    await answered;
  }
  return { socket, closed: () => closed };
}

const ask = (key: string): string => `GET /v1/self HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${key}\r\n\r\n`;

test('connections of strangers make room for others, oldest first, and a client keeps its own', async () => {
  const { server } = await tools.serve(tools.folder(), { room: { most: 100, strangers: 8, each: 3 } });
  // Which takes a connection itself.
  const { key, api } = await tools.joined(server, 'ann');
  const own = [await connected(server.url, ask(key)), await connected(server.url, ask(key))];
  const third = await connected(server.url, ask(key));
  const strangers: Awaited<ReturnType<typeof connected>>[] = [];
  for (let i = 0; i < 40; i++) strangers.push(await connected(server.url));
  await expect.poll(() => strangers.filter(({ closed }) => closed()).length).toBe(32);
  expect(strangers.slice(32).some(({ closed }) => closed())).toBe(false);
  expect(own.map(({ closed }) => closed())).toEqual([false, false]);
  // More than a client's own are as good as a stranger's.
  expect(third.closed()).toBe(true);
  expect(await api.next(0)).toMatchObject({ kind: 'wait' });
  for (const { socket } of [...own, ...strangers]) socket.destroy();
});

test('beyond all of them a connection is refused, and the server goes on when there is room again', async () => {
  const { server } = await tools.serve(tools.folder(), { room: { most: 4, strangers: 100, each: 64 } });
  const first: Awaited<ReturnType<typeof connected>>[] = [];
  for (let i = 0; i < 4; i++) first.push(await connected(server.url));
  const late = await connected(server.url);
  await expect.poll(late.closed).toBe(true);
  expect(first.some(({ closed }) => closed())).toBe(false);
  for (const { socket } of first) socket.destroy();
  await setTimeout(50);
  expect((await fetch(`${server.url}/v1/health`)).status).toBe(200);
});

test('a quarter of the descriptors is left for files, at most 1,024', () => {
  expect(roomOf(1024)).toEqual({ most: 768, strangers: 384, each: 64 });
  expect(roomOf(65_536).most).toBe(64_512);
});
