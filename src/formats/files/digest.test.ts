import { createHash } from 'node:crypto';
import {
  openSync,
  closeSync,
  ftruncateSync,
  readdirSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { expect, test } from 'vitest';
import { collect } from '../../../tests/support/collect.ts';
import { workspace } from '../../../tests/support/workspace.ts';
import { fileDigest, LARGE } from './digest.ts';

const { signal } = new AbortController();
const size = LARGE + 5;

/** A file of zeros with one byte in its middle. */
function middle(path: string, byte: number): string {
  const file = openSync(path, 'w');
  ftruncateSync(file, size);
  writeSync(file, Uint8Array.of(byte), 0, 1, size >> 1);
  closeSync(file);
  return path;
}

const hashOf = (byte: number): string => {
  const bytes = new Uint8Array(size);
  bytes[size >> 1] = byte;
  return createHash('sha256').update(bytes).digest('hex');
};

test('a small file is read each time, and leaves nothing behind', async () => {
  using space = workspace();
  writeFileSync(space.at('small'), 'abc');
  const { result, yielded } = await collect(fileDigest(space.at('small'), signal, space.at('cache')));
  // FIPS 180-2, appendix B.1.
  expect(result).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(yielded).toEqual([]);
  expect(readdirSync(space.path)).toEqual(['small']);
  writeFileSync(space.at('small'), '');
  const empty = await collect(fileDigest(space.at('small'), signal, space.at('cache')));
  expect(empty.result).toBe(createHash('sha256').digest('hex'));
});

test('a large file is read once, and again where it was changed, though size and time be as before', async () => {
  using space = workspace();
  const cache = space.at('cache');
  const path = middle(space.at('large'), 1);
  const first = await collect(fileDigest(path, signal, cache));
  expect(first.result).toBe(hashOf(1));
  expect(first.yielded[0]).toEqual({ kind: 'checking', file: 'large', done: 0, total: size });
  expect(first.yielded.at(-1)).toEqual({ kind: 'checking', file: 'large', done: size, total: size });

  const again = await collect(fileDigest(path, signal, cache));
  expect(again).toEqual({ result: hashOf(1), yielded: [] });
  // What is kept is what is answered: the file is not looked into.
  const [kept] = readdirSync(cache);
  writeFileSync(space.at('cache', kept!), 'f'.repeat(64));
  expect((await collect(fileDigest(path, signal, cache))).result).toBe('f'.repeat(64));
  // What is no hash is not.
  writeFileSync(space.at('cache', kept!), 'f'.repeat(63));
  expect((await collect(fileDigest(path, signal, cache))).result).toBe(hashOf(1));

  const { atime, mtime } = statSync(path);
  middle(path, 2);
  utimesSync(path, atime, mtime);
  expect(await collect(fileDigest(path, signal, cache))).toMatchObject({ result: hashOf(2), yielded: { length: 18 } });
});

test('it is stopped on request, and then keeps nothing', async () => {
  using space = workspace();
  const path = middle(space.at('large'), 1);
  const stop = new AbortController();
  const steps = fileDigest(path, stop.signal, space.at('cache'));
  await steps.next();
  stop.abort();
  await expect(steps.next()).rejects.toThrow('aborted');
  expect(readdirSync(space.path)).toEqual(['large']);
});

test('a file that is changed while it is read is refused', async () => {
  using space = workspace();
  const path = middle(space.at('large'), 1);
  const steps = fileDigest(path, signal, space.at('cache'));
  await steps.next();
  utimesSync(path, 1, 1);
  await expect(collect(steps)).rejects.toThrow('large was changed while it was read: start again when it is whole');
});

test('where a hash cannot be kept it is told so, and read again', async () => {
  using space = workspace();
  const path = middle(space.at('large'), 1);
  writeFileSync(space.at('cache'), '');
  for (let i = 0; i < 2; i++) {
    const { result, yielded } = await collect(fileDigest(path, signal, space.at('cache')));
    expect(result).toBe(hashOf(1));
    expect(yielded.at(-1)!.unkept).toMatch(/could not be written/);
  }
});
