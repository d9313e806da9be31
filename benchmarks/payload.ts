/**
 * What a payload takes of memory on its way: server and client, each a process of its own, over real HTTP on loopback; one task whose
 * update is as large as what was sent, without training. The most anonymous memory beyond the process before the adapter is there, as
 * a multiple of the payload. `carried`: the server hands out one task and takes its update back; `round`: the whole round engine
 * (journal, float64 sum, next state). One JSON line a side.
 */
import { join } from 'node:path';
import { print } from './support/figures.ts';
import { startWatched } from './support/watched.ts';

const here = join(import.meta.dirname, 'support');

async function carry(megabytes: number, mode: 'carried' | 'round'): Promise<void> {
  const server = startWatched(join(here, 'payload-server.js'), [String(megabytes), mode]);
  await server.until('bare');
  const serverBefore = server.now();
  const { url, token, bytes } = await server.until('ready');
  const from = performance.now();
  const client = startWatched(join(here, 'payload-client.js'), [String(url), String(token), String(megabytes)]);
  await client.until('bare');
  const clientBefore = client.now();
  await server.until('done');
  const seconds = (performance.now() - from) / 1000;
  await Promise.all([server.ended, client.ended]);
  const size = Number(bytes);
  const about = { payloadMB: Math.round(size / 1e6), seconds: Number(seconds.toPrecision(3)) };
  print(`payload, ${mode}: server`, (server.peak() - serverBefore) / size, 'payloads', about);
  print(`payload, ${mode}: client`, (client.peak() - clientBefore) / size, 'payloads', about);
}

for (const megabytes of [1, 100, 1000]) for (const mode of ['carried', 'round'] as const) await carry(megabytes, mode);
