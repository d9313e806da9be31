import { createHash, type Hash } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { syncFolder } from '../../../formats/files/atomic.ts';
import type { UploadState } from '../protocol.ts';
import type { Bytes } from '../ranges.ts';
import { Refusal } from '../refusal.ts';
import { hashFile } from './blobs.ts';
import { turns } from './turns.ts';

/** Files that clients are sending, each client's in a folder of its own: whole and verified, or as much as has come. */
export interface Uploads {
  state(client: string, digest: string): Promise<UploadState>;
  /**
   * Writes a piece behind what is there. Refuses pieces out of order (saying where to go on), larger totals than `most`, and a
   * whole whose SHA-256 is not its name: that is thrown away. What came before a cut stays.
   */
  append(
    client: string,
    digest: string,
    piece: Bytes & { readonly total: number },
    body: AsyncIterable<Uint8Array>,
    most: number,
  ): Promise<UploadState>;
  /** A whole upload's file. */
  file(client: string, digest: string): Promise<string | undefined>;
  /** Deletes everything that a client has sent and no task has taken over. */
  forget(client: string): Promise<void>;
  /** Deletes all clients': the run is over. */
  clear(): Promise<void>;
}

/** Uploads of one client that are kept at a time; the oldest goes. */
const KEPT = 2;

interface Open {
  readonly hash: Hash;
  received: number;
  busy: boolean;
  /** How much of the file is good is not known any more. */
  broken: boolean;
}

const deleted = (): Refusal => new Refusal(409, 'gone', 'this upload was deleted meanwhile');

const partOf = (whole: string): string => `${whole}.part`;

/** Opens a folder of uploads. Unfinished ones go on where they were, also after a kill. */
export function openUploads(folder: string): Uploads {
  const open_ = new Map<string, Open>();
  const opening = new Map<string, Promise<Open>>();
  const inTurn = turns();
  // A client's name never becomes part of a path.
  const homeOf = (client: string): string =>
    join(folder, createHash('sha256').update(client).digest('hex').slice(0, 32));
  const wholeOf = (client: string, digest: string): string => join(homeOf(client), digest);
  const sizeOf = async (path: string): Promise<number | undefined> =>
    stat(path).then(
      ({ size }) => size,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      },
    );

  async function state(client: string, digest: string): Promise<UploadState> {
    const whole = wholeOf(client, digest);
    const done = await sizeOf(whole);
    if (done !== undefined) return { received: done, complete: true };
    const known = open_.get(whole);
    if (known !== undefined) return { received: known.received, complete: false };
    if (((await sizeOf(partOf(whole))) ?? 0) === 0) return { received: 0, complete: false };
    const { received } = await opened(whole);
    return { received, complete: (await sizeOf(whole)) !== undefined };
  }

  /** An upload whose SHA-256 is its name takes it, for good. */
  async function named(whole: string): Promise<void> {
    await rename(partOf(whole), whole).catch((error: NodeJS.ErrnoException) => {
      // Its client was revoked, or the run ended, while the last bytes came.
      if (error.code === 'ENOENT') throw deleted();
      throw error;
    });
    await syncFolder(dirname(whole));
    open_.delete(whole);
  }

  /** What is known of an unfinished upload; after a restart its bytes are hashed again, once whoever asks. */
  async function opened(whole: string): Promise<Open> {
    const known = open_.get(whole);
    if (known !== undefined) return known;
    const reading = opening.get(whole) ?? fromDisk(whole).finally(() => opening.delete(whole));
    opening.set(whole, reading);
    return reading;
  }

  async function fromDisk(whole: string): Promise<Open> {
    const received = (await sizeOf(partOf(whole))) ?? 0;
    const hash = createHash('sha256');
    if (received > 0) await hashFile(partOf(whole), hash);
    const upload: Open = { hash, received, busy: false, broken: false };
    // All of it may have come: a kill after the last byte, before it had its name.
    if (received > 0 && hash.copy().digest('hex') === basename(whole)) await named(whole);
    else open_.set(whole, upload);
    return upload;
  }

  /** Makes room for one more. */
  async function makeRoom(client: string, digest: string): Promise<void> {
    const home = homeOf(client);
    await mkdir(home, { recursive: true });
    const names = (await readdir(home)).filter((name) => !name.startsWith(digest));
    const aged = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(home, name))).mtimeMs })));
    const old = aged.sort((a, b) => b.at - a.at).slice(KEPT - 1);
    const wholeOfName = (name: string): string => join(home, name.replace(/\.part$/, ''));
    if (old.some(({ name }) => open_.get(wholeOfName(name))?.busy === true))
      throw new Refusal(409, 'busy', `${KEPT} other uploads of yours are being written`);
    for (const { name } of old) {
      open_.delete(wholeOfName(name));
      await rm(join(home, name), { force: true });
    }
  }

  /** An upload that this request alone writes, from this byte on. One at a time for each client: else many at once find room. */
  async function claimed(client: string, digest: string, start: number): Promise<Open> {
    const whole = wholeOf(client, digest);
    await makeRoom(client, digest);
    const upload = await opened(whole);
    if (upload.busy) throw new Refusal(409, 'busy', 'another request is writing this upload', upload.received);
    if (start !== upload.received)
      throw new Refusal(
        409,
        'order',
        `the next byte of this upload is ${upload.received}, not ${start}`,
        upload.received,
      );
    // Its place is taken from now on.
    await (await open(partOf(whole), 'a')).close();
    upload.busy = true;
    return upload;
  }

  async function discard(whole: string): Promise<void> {
    open_.delete(whole);
    await rm(partOf(whole), { force: true });
  }

  return {
    state,
    file: async (client, digest) =>
      (await sizeOf(wholeOf(client, digest))) === undefined ? undefined : wholeOf(client, digest),
    async forget(client) {
      const home = homeOf(client);
      for (const path of open_.keys()) if (path.startsWith(home)) open_.delete(path);
      await rm(home, { recursive: true, force: true });
    },
    async clear() {
      open_.clear();
      await rm(folder, { recursive: true, force: true });
    },
    async append(client, digest, { start, end, total }, body, most) {
      if (total > most)
        throw new Refusal(413, 'too-large', `an update for this task has at most ${most} bytes, and this one ${total}`);
      const whole = wholeOf(client, digest);
      const before = await state(client, digest);
      if (before.complete) return before;
      const upload = await inTurn(client, () => claimed(client, digest, start));
      try {
        await write(partOf(whole), upload, end - start + 1, body);
        if (upload.received < start + (end - start + 1))
          throw new Refusal(400, 'cut', 'the request ended early', upload.received);
        if (upload.received < total) return { received: upload.received, complete: false };
        // Its client was revoked meanwhile: what may lie there by now is another request's.
        if (open_.get(whole) !== upload) throw deleted();
        const found = upload.hash.digest('hex');
        if (found !== digest) {
          await discard(whole);
          throw new Refusal(422, 'digest', `the upload's SHA-256 is ${found}, not its name; it was thrown away`);
        }
        await named(whole);
        return { received: total, complete: true };
      } finally {
        upload.busy = false;
        if (upload.broken && open_.get(whole) === upload) await discard(whole);
      }
    },
  };
}

/** Writes up to `length` bytes of a body behind what is there, hashing them; synced when the body has ended, however it did. */
async function write(path: string, upload: Open, length: number, body: AsyncIterable<Uint8Array>): Promise<void> {
  const handle = await open(path, 'a');
  let left = length;
  try {
    for await (const chunk of body) {
      if (chunk.length > left)
        throw new Refusal(400, 'length', 'the request has more bytes than its Content-Range', upload.received);
      try {
        await handle.appendFile(chunk);
      } catch (error) {
        upload.broken = true;
        throw new Refusal(507, 'storage', `the server cannot store this: ${(error as Error).message}`, upload.received);
      }
      upload.hash.update(chunk);
      upload.received += chunk.length;
      left -= chunk.length;
    }
  } catch (error) {
    if (error instanceof Refusal) throw error;
    // A connection that broke: what has come is kept, and the client asks how much that is.
    throw new Refusal(400, 'cut', 'the request ended early', upload.received);
  } finally {
    await handle.sync();
    await handle.close();
  }
}
