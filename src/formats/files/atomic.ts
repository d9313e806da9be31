import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, basename } from 'node:path';

/** The folder's entry for a renamed file reaches the disk only with the folder itself; Windows cannot open folders and needs none. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() === true;

/**
 * Makes a folder and those above it. `mkdir`'s own recursion does not end where a file system says ENOENT of a new folder though
 * the one above it is there, as Linux's /proc does (Node 20); this throws that error. `mode`: permissions of what it makes.
 */
export async function makeFolder(path: string, mode?: number): Promise<void> {
  if (await isFolder(path)) return;
  const above = dirname(path);
  if (above !== path) await makeFolder(above, mode);
  await mkdir(path, mode).catch(async (error: unknown) => {
    // Another has made it meanwhile.
    if (!(await isFolder(path))) throw error;
  });
}

/** Why a disk refuses, in words. */
export const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'no space is left on the disk',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'permission denied',
  EROFS: 'the file system is read-only',
  EEXIST: 'a file stands where it, or a folder above it, should be',
};

/**
 * Writes a file so that at every moment, also after a crash, either the old or the whole new one is there: a temporary name in the
 * same folder, fsync, rename. Makes missing folders. On an error the temporary file is removed and the old file is as it was;
 * the error (not a UserError: the user's input may be fine) names the path and, for a full disk and the like, the reason.
 * `mode`: permissions of the file, e.g. 0o600 for a secret.
 */
export async function writeAtomically(
  path: string,
  chunks: Uint8Array | string | Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
  mode?: number,
): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomUUID()}.tmp`);
  try {
    await makeFolder(folder);
    const handle = await open(temporary, 'wx', mode);
    try {
      if (typeof chunks === 'string' || chunks instanceof Uint8Array) await handle.writeFile(chunks);
      else
        for await (const chunk of chunks) {
          signal?.throwIfAborted();
          await handle.writeFile(chunk);
        }
      await handle.sync();
    } finally {
      await handle.close();
    }
    signal?.throwIfAborted();
    await rename(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    if (signal?.aborted === true) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(`${path} could not be written: ${reasons[code ?? ''] ?? message}; nothing was replaced`, {
      cause: error,
    });
  }
}
