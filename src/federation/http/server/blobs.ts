import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFolder, writeAtomically } from '../../../formats/files/atomic.ts';
import type { BlobRef } from '../protocol.ts';

/** Files named by the SHA-256 of their bytes, each kept as long as somebody holds it. */
export interface Blobs {
  /** Keeps bytes, once, and holds them. `chunks` is called anew for each pass over them; `known`: what the same bytes gave before. */
  put(chunks: () => Iterable<Uint8Array>, known?: BlobRef): Promise<BlobRef>;
  /** Takes over a finished, synced file of this digest, and holds it. Where it cannot, nothing is held. */
  adopt(digest: string, file: string): Promise<void>;
  /** Holds what an earlier process has left. */
  hold(digest: string): void;
  /** Lets go of one hold; with the last the file goes. */
  release(digest: string): Promise<void>;
  find(digest: string): Promise<{ readonly path: string; readonly size: number } | undefined>;
  read(digest: string): Promise<Uint8Array>;
  /** Where the file is, or would be. */
  path(digest: string): string;
  /** How many there are, and their bytes. */
  kept(): Promise<{ readonly files: number; readonly bytes: number }>;
  /** Whether its bytes are there, and those of its name: a disk does not always keep what it was given. */
  intact(digest: string): Promise<boolean>;
  /** Lets go of everything: no run needs it any more. */
  clear(): Promise<void>;
  /** Removes everything that nobody holds. */
  sweep(): Promise<void>;
}

/** Opens a folder of blobs, made where absent. */
export async function openBlobs(folder: string): Promise<Blobs> {
  await mkdir(folder, { recursive: true });
  await syncFolder(dirname(folder));
  const pathOf = (digest: string): string => join(folder, digest);
  const holds = new Map<string, number>();
  // Written by this process: what an earlier one has left is not taken for good unseen.
  const written = new Set<string>();
  const hold = (digest: string): void => void holds.set(digest, (holds.get(digest) ?? 0) + 1);
  let last: Promise<unknown> = Promise.resolve();
  // One change after the other, so that nothing is removed that was just found.
  const inTurn = <T>(change: () => Promise<T>): Promise<T> => {
    const result = last.then(change);
    last = result.catch(() => undefined);
    return result;
  };
  const find: Blobs['find'] = async (digest) => {
    const path = pathOf(digest);
    const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    return found?.isFile() === true ? { path, size: found.size } : undefined;
  };
  const sweep = (): Promise<void> =>
    inTurn(async () => {
      for (const name of await readdir(folder)) if (!holds.has(name)) await rm(join(folder, name), { force: true });
    });
  async function release(digest: string): Promise<void> {
    const left = (holds.get(digest) ?? 0) - 1;
    if (left > 0) holds.set(digest, left);
    else holds.delete(digest);
    await inTurn(async () => {
      if (holds.has(digest)) return;
      written.delete(digest);
      await rm(pathOf(digest), { force: true });
    });
  }
  return {
    async put(chunks, known) {
      const { digest, size } = known ?? named(chunks());
      hold(digest);
      await inTurn(async () => {
        if (written.has(digest) && (await find(digest)) !== undefined) return;
        await writeAtomically(pathOf(digest), chunks());
        written.add(digest);
      });
      return { digest, size };
    },
    async adopt(digest, file) {
      hold(digest);
      try {
        await inTurn(async () => {
          await rename(file, pathOf(digest));
          written.add(digest);
          await syncFolder(folder);
        });
      } catch (error) {
        await release(digest);
        throw error;
      }
    },
    hold,
    release,
    find,
    read: (digest) => readFile(pathOf(digest)),
    path: pathOf,
    async kept() {
      // One that goes meanwhile is not counted.
      const found = await Promise.all((await readdir(folder)).map(find));
      const sizes = found.flatMap((blob) => (blob === undefined ? [] : [blob.size]));
      return { files: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
    },
    async intact(digest) {
      const found = await find(digest);
      return found !== undefined && (await hashFile(found.path)).digest('hex') === digest;
    },
    clear() {
      holds.clear();
      return sweep();
    },
    sweep,
  };
}

function named(chunks: Iterable<Uint8Array>): BlobRef {
  const hash = createHash('sha256');
  let size = 0;
  for (const chunk of chunks) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { digest: hash.digest('hex'), size };
}

/** SHA-256 of a file's bytes so far. */
export async function hashFile(path: string, hash = createHash('sha256')): Promise<ReturnType<typeof createHash>> {
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash;
}
