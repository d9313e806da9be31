import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import type { BlobRef } from '../protocol.ts';
import { Refusal } from '../refusal.ts';

/** SHA-256 of chunks, and their bytes. */
export async function hashed(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<{ readonly digest: string; readonly size: number }> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of chunks) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { digest: hash.digest('hex'), size };
}

/** The file with this digest; undefined where it is not there, or damaged. */
export async function wholeFile(
  path: string,
  digest: string,
): Promise<{ readonly path: string; readonly size: number } | undefined> {
  const size = await stat(path).then(
    (found) => found.size,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    },
  );
  if (size === undefined || (await hashed(createReadStream(path))).digest !== digest) return undefined;
  return { path, size };
}

/** A payload that is being fetched into a file. */
export interface Part {
  /** Bytes that are there. */
  have(): number;
  /** Adds what an answer holds; what came before a cut stays. Throws `TypeError`, as fetch does, where nothing came, and `Refusal` where it does not end. */
  take(response: Response): Promise<void>;
  /** Whether the whole has the right name; else it is thrown away. */
  finish(): Promise<boolean>;
  close(): Promise<void>;
}

/** Times that a server may begin a payload anew: else it could bring some, take it back, and so on for ever. */
const ANEW = 10;

/** Goes on where an earlier attempt, or a process that was killed, ended. */
export async function openPart(path: string, { digest, size }: BlobRef): Promise<Part> {
  const part = `${path}.part`;
  const handle = await open(part, 'a+');
  let have = 0;
  let anew = 0;
  let hash = createHash('sha256');
  for await (const chunk of createReadStream(part) as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
    have += chunk.length;
  }
  return {
    have: () => have,
    async take(response) {
      if (response.status !== 206) {
        if (have > 0 && ++anew > ANEW)
          throw new Refusal(0, 'endless', `the server has begun payload ${digest} anew ${anew} times`);
        await handle.truncate();
        have = 0;
        hash = createHash('sha256');
      }
      const from = have;
      for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
        if (have + chunk.length > size)
          throw new Refusal(0, 'size', `payload ${digest} is longer than the server said`);
        await handle.appendFile(chunk);
        hash.update(chunk);
        have += chunk.length;
      }
      // Without ranges every answer begins anew: one that is not the whole has brought nothing.
      if (have === from || (response.status !== 206 && have < size))
        throw new TypeError(`payload ${digest} was cut at byte ${have}`);
    },
    async finish() {
      const good = hash.digest('hex') === digest;
      if (good) await rename(part, path);
      else await rm(part);
      return good;
    },
    close: () => handle.close(),
  };
}
