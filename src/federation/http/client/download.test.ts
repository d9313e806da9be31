import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../../../../tests/support/temporary.ts';
import { hashed, openPart, wholeFile } from './download.ts';

const folder = temporaryFolder();
const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) % 251);
const blob = { digest: createHash('sha256').update(bytes).digest('hex'), size: bytes.length };
const partial = (from: number, to: number): Response => new Response(bytes.slice(from, to), { status: 206 });
const place = (name: string): string => join(folder, name);

describe('a payload that comes in parts', () => {
  test('is whole at the end, also where another process had begun it, and is named only then', async () => {
    const path = place('parts');
    const first = await openPart(path, blob);
    await first.take(partial(0, 400));
    await first.close();
    const second = await openPart(path, blob);
    expect(second.have()).toBe(400);
    await second.take(partial(400, 1000));
    expect(existsSync(path)).toBe(false);
    expect(await second.finish()).toBe(true);
    await second.close();
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes);
    expect(await wholeFile(path, blob.digest)).toEqual({ path, size: 1000 });
  });

  test('keeps what came before a cut', async () => {
    const part = await openPart(place('cut'), blob);
    const cut = new ReadableStream<Uint8Array>({
      start(stream) {
        stream.enqueue(bytes.slice(0, 300));
      },
      pull(stream) {
        stream.error(new TypeError('terminated'));
      },
    });
    await expect(part.take(new Response(cut, { status: 206 }))).rejects.toThrow('terminated');
    expect(part.have()).toBe(300);
    await expect(part.take(partial(1000, 1000))).rejects.toThrow('was cut at byte 300');
    await part.close();
  });

  test('begins anew where the server sends all of it again', async () => {
    const path = place('again');
    writeFileSync(`${path}.part`, 'something else');
    const part = await openPart(path, blob);
    await part.take(new Response(bytes, { status: 200 }));
    expect(await part.finish()).toBe(true);
    await part.close();
  });

  test('is thrown away where its bytes are others, and refused where they are too many', async () => {
    const path = place('other');
    writeFileSync(`${path}.part`, bytes.slice(1, 401));
    const part = await openPart(path, blob);
    await part.take(partial(400, 1000));
    expect(await part.finish()).toBe(false);
    await part.close();
    expect([existsSync(path), existsSync(`${path}.part`)]).toEqual([false, false]);
    const long = await openPart(path, blob);
    await expect(long.take(new Response(new Uint8Array(1001), { status: 206 }))).rejects.toThrow('longer than');
    await long.close();
  });
});

test('a file that is damaged or not there is not whole', async () => {
  const path = place('damaged');
  expect(await wholeFile(path, blob.digest)).toBeUndefined();
  writeFileSync(path, bytes.slice(1));
  expect(await wholeFile(path, blob.digest)).toBeUndefined();
  expect(await hashed([bytes.subarray(0, 10), bytes.subarray(10)])).toEqual(blob);
});
