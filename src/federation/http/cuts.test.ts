import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cuttingProxy } from '../../../tests/support/cutting-proxy.ts';
import { federationTools, noTask } from '../../../tests/support/served.ts';
import { stream } from '../../tensor/random.ts';
import { digestOf } from './client/api.ts';
import { UPLOAD_PIECE } from './protocol.ts';

const tools = federationTools();

// What began anew after each cut would never come to its end: no connection lets as much as one piece through.
test('a payload of more than one piece comes whole, up and down, though every connection is cut before a piece has passed', async () => {
  const folder = tools.folder();
  const { server } = await tools.serve(folder);
  const bytes = new Uint8Array(randomBytes(UPLOAD_PIECE + 5));
  const blob = { digest: digestOf(bytes), size: bytes.length };
  const proxy = await cuttingProxy(server.url, stream(7, 'cuts'), 3 * 2 ** 20);
  try {
    const { key } = await tools.joined(server, 'ann');
    const api = tools.api(proxy.url, key);
    server.desk.offers = () => [{ ...noTask, sum: { bytes: bytes.length, receive: () => undefined } }];
    await api.upload(blob.digest, bytes);
    const up = proxy.cuts();
    expect(up).toBeGreaterThan(2);
    const uploads = join(folder, 'server', 'uploads');
    const [home] = readdirSync(uploads);
    expect(readdirSync(join(uploads, home!))).toEqual([blob.digest]);
    expect(digestOf(readFileSync(join(uploads, home!, blob.digest)))).toBe(blob.digest);

    server.desk.mayFetch = () => true;
    await server.blobs.put(() => [bytes]);
    const path = join(folder, 'fetched');
    await api.downloadTo(path, blob);
    expect(proxy.cuts() - up).toBeGreaterThan(2);
    expect(digestOf(readFileSync(path))).toBe(blob.digest);
  } finally {
    await proxy.close();
  }
});
