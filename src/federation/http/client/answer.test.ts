import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { isConnection, reasonOf } from './answer.ts';

/** How fetch fails, for real. */
const failure = async (url: string): Promise<unknown> =>
  fetch(url, { signal: AbortSignal.timeout(10_000) }).then(
    () => expect.unreachable(),
    (error: unknown) => error,
  );

describe('why a server does not answer', () => {
  test('is told in words, with what the system says', async () => {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as AddressInfo;
    await new Promise((done) => server.close(done));
    for (const host of ['127.0.0.1', 'localhost']) {
      const refused = await failure(`http://${host}:${port}`);
      expect(isConnection(refused)).toBe(true);
      expect(reasonOf(refused)).toMatch(
        /^nothing listens at this address and port: is the server running\? \(.*ECONNREFUSED.*\)$/,
      );
    }
  });

  test('is as the system says it where that has no meaning of its own', () => {
    expect(reasonOf(new TypeError('fetch failed', { cause: new Error('bad port') }))).toBe('bad port');
    expect(reasonOf(new TypeError('fetch failed'))).toBe('fetch failed');
  });
});
