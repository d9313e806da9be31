import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { open, readFile, realpath } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { UserError } from '../../errors.ts';
import { writeAtomically } from './atomic.ts';
import { requireFile } from './read.ts';

/** How far a large file is read; `unkept`: why its hash could not be kept, so that the next start reads it again. */
export interface Checking {
  readonly kind: 'checking';
  readonly file: string;
  readonly done: number;
  readonly total: number;
  readonly unkept?: string;
}

/** Bytes from which a file's hash is worth keeping: less takes a fraction of a second. */
export const LARGE = 64 * 2 ** 20;
const CHUNK = 4 * 2 ** 20;

/** Where hashes of large files are kept: `fedlora/sha256` in XDG_CACHE_HOME or ~/.cache. */
const digestCache = (): string => {
  const home = process.env['XDG_CACHE_HOME'];
  return join(home === undefined || home === '' ? join(homedir(), '.cache') : home, 'fedlora', 'sha256');
};

/**
 * The SHA-256 of a whole file in hex, read a piece at a time. That of a large file is kept for its path, size, inode and times of
 * change to the nanosecond, and not read again until one of them changes. Throws UserError where it changes while it is read.
 */
export async function* fileDigest(
  path: string,
  signal: AbortSignal,
  cache = digestCache(),
): AsyncGenerator<Checking, string> {
  await requireFile(path);
  const handle = await open(path, 'r');
  try {
    const before = await handle.stat({ bigint: true });
    const total = Number(before.size);
    const large = total >= LARGE;
    const kept = join(
      cache,
      createHash('sha256')
        .update(stamp(await realpath(path), before))
        .digest('hex'),
    );
    if (large) {
      const known = await readFile(kept, 'latin1').catch(() => '');
      if (/^[0-9a-f]{64}$/.test(known)) return known;
    }
    const about = { kind: 'checking', file: basename(path), total } as const;
    const hash = createHash('sha256');
    const buffer = new Uint8Array(Math.min(CHUNK, Math.max(1, total)));
    for (let done = 0; ;) {
      signal.throwIfAborted();
      if (large) yield { ...about, done };
      const { bytesRead } = await handle.read({ buffer, position: done });
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      done += bytesRead;
    }
    if (stamp(path, await handle.stat({ bigint: true })) !== stamp(path, before))
      throw new UserError(`${path} was changed while it was read: start again when it is whole`);
    const digest = hash.digest('hex');
    if (large) {
      const failed = await writeAtomically(kept, digest, signal).catch((error: unknown) => error as Error);
      signal.throwIfAborted();
      if (failed !== undefined) yield { ...about, done: total, unkept: failed.message };
    }
    return digest;
  } finally {
    await handle.close();
  }
}

/** What changes with a file's content; the time of the inode's change too, which a program cannot set back. */
const stamp = (path: string, { size, ino, mtimeNs, ctimeNs }: BigIntStats): string =>
  [path, size, ino, mtimeNs, ctimeNs].join('\n');
