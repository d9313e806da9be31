import { createServer as createTcp } from 'node:net';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test, onTestFinished } from 'vitest';
import { federationTools } from '../../../../tests/support/served.ts';
import { UserError } from '../../../errors.ts';
import { makeCertificate, type Certificate } from '../server/certificate.ts';
import { openApi, Unreachable } from './api.ts';
import { openLine } from './line.ts';
import { pinned } from './pinned.ts';

const tools = federationTools();
const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A server that notes whatever it is asked and every byte that is not TLS. */
async function listening(certificate: Certificate, asked: string[] = []): Promise<string> {
  const server = createServer(certificate, (request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.authorization}`);
    if (request.url === '/elsewhere') response.writeHead(302, { location: 'https://127.0.0.1:1/' }).end();
    else request.pipe(response);
  });
  server.on('tlsClientError', () => undefined);
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const post = {
  method: 'POST',
  headers: { authorization: 'Bearer secret' },
  body: 'hello',
  redirect: 'error',
  signal: tools.signal,
} as const;

test('the certificate with the fingerprint is trusted, and no other: nothing is said to another', async () => {
  const own = makeCertificate('127.0.0.1');
  const asked: string[] = [];
  const url = await listening(own, asked);
  for (const fingerprint of [own.fingerprint, own.fingerprint.replaceAll(':', '').toLowerCase()]) {
    const { fetch: carry, agent } = pinned(fingerprint);
    expect(await (await carry(`${url}/echo`, post)).text()).toBe('hello');
    agent.destroy();
  }
  expect(asked).toHaveLength(2);
  // Another server has taken its place, with the same names and even the same subject.
  const another = await listening(makeCertificate('127.0.0.1'), asked);
  const { fetch: carry } = pinned(own.fingerprint);
  const error = await carry(`${another}/echo`, post).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UserError);
  expect((error as Error).message).toContain('another certificate');
  expect(asked).toHaveLength(2);
  // And without a fingerprint nobody trusts a certificate that it has made itself.
  await expect(fetch(`${url}/echo`, post)).rejects.toThrow('fetch failed');
  expect(asked).toHaveLength(2);
});

test('an expired certificate, a redirect and a server that is not there', async () => {
  const old = makeCertificate('127.0.0.1', Date.now() - 366 * 86_400_000);
  await expect(pinned(old.fingerprint).fetch(await listening(old), post)).rejects.toThrow('expired on');
  const own = makeCertificate('127.0.0.1');
  const { fetch: carry } = pinned(own.fingerprint);
  await expect(carry(`${await listening(own)}/elsewhere`, post)).rejects.toThrow(TypeError);
  await expect(carry('https://127.0.0.1:1/', post)).rejects.toThrow(TypeError);
  expect(() => pinned('AB:CD')).toThrow('is no fingerprint');
});

test('a client takes part over it, asking and by WebSocket; with another fingerprint it is told at once', async () => {
  const certificate = makeCertificate('127.0.0.1');
  const { server } = await tools.serve(tools.folder(), { tls: certificate });
  const { fetch: carry, agent } = pinned(certificate.fingerprint);
  const options = { url: server.url, patience: 10, signal: tools.signal, fetch: carry };
  const api = openApi(options);
  const { run } = await api.describe();
  const key = 'k'.repeat(43);
  await api.join({ protocol: 1, fedlora: '1', run, key }, tools.token(server, 'ann'));
  await openApi({ ...options, key }).ready({ train: 3, validation: 0, test: 0, labelledTokens: 100 });
  const line = await openLine({ url: server.url, key, signal: tools.signal, agent });
  expect(await line.next(1)).toMatchObject({ kind: 'wait' });
  line.close();
  agent.destroy();

  const other = pinned(makeCertificate('127.0.0.1').fingerprint);
  const began = performance.now();
  const asked = openApi({ url: server.url, patience: 60, signal: tools.signal, fetch: other.fetch }).describe();
  await expect(asked).rejects.toThrow('another certificate');
  expect(performance.now() - began).toBeLessThan(20_000);
  await expect(openLine({ url: server.url, key, signal: tools.signal, agent: other.agent })).rejects.toThrow(
    'another certificate',
  );
  // A server that is away is waited for, as without a fingerprint.
  const away = openApi({ url: 'https://127.0.0.1:1', patience: 0.5, signal: tools.signal, fetch: carry }).describe();
  await expect(away).rejects.toThrow(Unreachable);
});

test('a request whose connection never becomes TLS ends at its limit of time', async () => {
  const silent = createTcp();
  onTestFinished(() => void silent.close());
  await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
  const { port } = silent.address() as { port: number };
  const { fetch: carry } = pinned('ab'.repeat(32));
  const asked = carry(`https://127.0.0.1:${port}/`, {
    method: 'GET',
    headers: {},
    redirect: 'error',
    signal: AbortSignal.timeout(300),
  });
  await expect(asked).rejects.toMatchObject({ name: 'TimeoutError' });
});
