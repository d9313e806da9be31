import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HubApiError } from '@huggingface/hub';
import { failure, SILENCE_MS, Unreachable } from './hub-http.ts';

/** A file to fetch, and how to know that it is the right one. */
export interface RemoteFile {
  readonly url: string;
  readonly size: number;
  /** SHA-256 of a large file, or the git hash (SHA-1 over a header and the content) of a small one. */
  readonly hash: { readonly kind: 'sha256' | 'git'; readonly value: string };
}

export interface DownloadOptions {
  readonly fetch: typeof fetch;
  readonly signal?: AbortSignal;
  /** Tries in a row that bring no byte before it fails; default 5. */
  readonly tries?: number;
  /** Milliseconds before the first repetition, doubled each time; default 500. */
  readonly pause?: number;
  /** Milliseconds without a byte after which a try is given up. */
  readonly silenceMs?: number;
}

function hasher({ hash, size }: RemoteFile): Hash {
  if (hash.kind === 'sha256') return createHash('sha256');
  return createHash('sha1').update(`blob ${size}\0`);
}

/** Waits for a promise no longer than `ms` and no longer than the signal. */
async function within<T>(promise: Promise<T>, ms: number, signal: AbortSignal | undefined): Promise<T> {
  const done = new AbortController();
  const limit = sleep(ms, undefined, { signal: AbortSignal.any([done.signal, ...(signal ? [signal] : [])]) }).then(
    () => {
      throw new Unreachable(`no byte in ${ms / 1000} s`);
    },
  );
  try {
    return await Promise.race([promise, limit]);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    done.abort();
    limit.catch(() => undefined);
  }
}

/** One request for the rest of the file; yields the bytes written by each chunk. */
async function* receive(file: RemoteFile, handle: FileHandle, hash: Hash, from: number, options: DownloadOptions) {
  const response = await options.fetch(file.url, from > 0 ? { headers: { Range: `bytes=${from}-` } } : {});
  if (!response.ok) throw await failure(response);
  if (response.body === null) throw new Unreachable('an empty answer');
  // A server without ranges sends everything again: what is there already is passed over.
  let skip = response.status === 206 ? 0 : from;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await within(reader.read(), options.silenceMs ?? SILENCE_MS, options.signal);
      if (done) return;
      const fresh = value.subarray(Math.min(skip, value.length));
      skip -= value.length - fresh.length;
      if (fresh.length === 0) continue;
      await handle.writeFile(fresh);
      hash.update(fresh);
      yield fresh.length;
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error instanceof TypeError
      ? new Unreachable(`the connection broke: ${error.message}`, { cause: error })
      : error;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

const fullDisk = new Set(['ENOSPC', 'EDQUOT']);

const isPassing = (error: unknown): boolean =>
  error instanceof Unreachable ||
  (error instanceof HubApiError && (error.statusCode >= 500 || error.statusCode === 429));

/**
 * Downloads to `path` by way of `path.incomplete`, going on where an earlier try or run stopped, and checks size and hash.
 * Yields the number of bytes of the file that are there. Throws Unreachable or HubApiError when every try failed, and Error for
 * content that is not what was announced.
 */
export async function* download(
  file: RemoteFile,
  path: string,
  options: DownloadOptions,
): AsyncGenerator<number, void> {
  const { tries = 5, pause = 500, signal } = options;
  const incomplete = `${path}.incomplete`;
  await mkdir(dirname(path), { recursive: true });
  let had = (await stat(incomplete).catch(() => undefined))?.size ?? 0;
  if (had > file.size) had = 0;
  const hash = hasher(file);
  if (had > 0)
    for await (const chunk of createReadStream(incomplete, { end: had - 1 })) hash.update(chunk as Uint8Array);
  const handle = await open(incomplete, had > 0 ? 'a' : 'w');
  try {
    let failures = 0;
    while (had < file.size) {
      signal?.throwIfAborted();
      const before = had;
      try {
        for await (const bytes of receive(file, handle, hash, had, options)) {
          had += bytes;
          yield had;
          if (had > file.size) break;
        }
        if (had < file.size) throw new Unreachable(`the connection ended after ${had} of ${file.size} bytes`);
      } catch (error) {
        if (fullDisk.has((error as NodeJS.ErrnoException).code ?? ''))
          throw new Error(
            `${incomplete}: no space is left on the disk; what has arrived is kept, and the next run goes on from there`,
            { cause: error },
          );
        failures = had > before ? 1 : failures + 1;
        if (!isPassing(error) || failures >= tries) throw error;
        await sleep(pause * 2 ** (failures - 1), undefined, signal === undefined ? {} : { signal });
      }
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  const found = hash.digest('hex');
  if (had !== file.size || found !== file.hash.value) {
    await rm(incomplete, { force: true });
    throw new Error(
      `${file.url}: what arrived is not what was announced (${had} of ${file.size} bytes, ${file.hash.kind} ${found} in place of ${file.hash.value}); it was removed, try again`,
    );
  }
  await rename(incomplete, path);
}
