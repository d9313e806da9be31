import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../../../../tests/support/temporary.ts';
import { digestOf } from '../client/api.ts';
import { Refusal } from '../refusal.ts';
import { openBlobs } from './blobs.ts';
import { openUploads, type Uploads } from './uploads.ts';

const root = temporaryFolder();
let folders = 0;
const fresh = (): string => join(root, `u${folders++}`);

async function* body(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

const send = (
  uploads: Uploads,
  bytes: Uint8Array,
  start: number,
  end: number,
  client = 'ann',
): ReturnType<Uploads['append']> =>
  uploads.append(
    client,
    digestOf(bytes),
    { start, end: end - 1, total: bytes.length },
    body(bytes.subarray(start, end)),
    1e6,
  );

describe('an upload', () => {
  test('all of whose bytes had come when the server was killed, before it had its name, is whole afterwards', async () => {
    const [folder, bytes] = [fresh(), new Uint8Array(randomBytes(100))];
    await send(openUploads(folder), bytes, 0, 60);
    const [home] = readdirSync(folder);
    writeFileSync(join(folder, home!, `${digestOf(bytes)}.part`), bytes);
    const uploads = openUploads(folder);
    const both = [uploads.state('ann', digestOf(bytes)), uploads.state('ann', digestOf(bytes))];
    expect(await Promise.all(both)).toContainEqual({ received: 100, complete: true });
    expect(await uploads.state('ann', digestOf(bytes))).toEqual({ received: 100, complete: true });
    expect(readFileSync((await uploads.file('ann', digestOf(bytes)))!).equals(bytes)).toBe(true);
  });

  test('takes no more room than two, however many are begun at the same time', async () => {
    const folder = fresh();
    const uploads = openUploads(folder);
    const begun = await Promise.allSettled(
      Array.from({ length: 40 }, () => send(uploads, new Uint8Array(randomBytes(100)), 0, 60)),
    );
    expect(begun.some(({ status }) => status === 'fulfilled')).toBe(true);
    const [home] = readdirSync(folder);
    expect(readdirSync(join(folder, home!)).length).toBe(2);
    // And others have theirs.
    const bytes = new Uint8Array(randomBytes(100));
    expect(await send(uploads, bytes, 0, 100, 'ben')).toEqual({ received: 100, complete: true });
  });

  test('arrives whole in pieces of any size, over restarts at any moment', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.array(fc.tuple(fc.integer({ min: 1, max: 80 }), fc.boolean())),
        async (bytes, steps) => {
          const folder = fresh();
          let uploads = openUploads(folder);
          let at = 0;
          for (const [length, restart] of [
            ...steps,
            ...Array.from({ length: 300 }, () => [80, false] as [number, boolean]),
          ]) {
            if (at === bytes.length) break;
            if (restart) uploads = openUploads(folder);
            const end = Math.min(bytes.length, at + length);
            expect(await send(uploads, bytes, at, end)).toEqual({ received: end, complete: end === bytes.length });
            at = end;
          }
          const file = await openUploads(folder).file('ann', digestOf(bytes));
          expect(readFileSync(file!).equals(bytes)).toBe(true);
          expect(await openUploads(folder).file('ben', digestOf(bytes))).toBeUndefined();
        },
      ),
      { numRuns: 15 },
    );
  });

  test('that is cut keeps what came, and goes on there', async () => {
    const uploads = openUploads(fresh());
    const bytes = randomBytes(1000);
    async function* cut(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 300);
      yield bytes.subarray(300, 450);
      throw new Error('connection reset');
    }
    const range = { start: 0, end: 999, total: 1000 };
    await expect(uploads.append('ann', digestOf(bytes), range, cut(), 1e6)).rejects.toMatchObject({
      status: 400,
      received: 450,
    });
    expect(await uploads.state('ann', digestOf(bytes))).toEqual({ received: 450, complete: false });
    await expect(send(uploads, bytes, 0, 1000)).rejects.toMatchObject({ status: 409, code: 'order', received: 450 });
    expect(await send(uploads, bytes, 450, 1000)).toEqual({ received: 1000, complete: true });
    // Sent again, it is there already.
    expect(await send(uploads, bytes, 0, 1000)).toEqual({ received: 1000, complete: true });
  });

  test('with other bytes than its name is thrown away; the right ones are taken after it', async () => {
    const folder = fresh();
    const uploads = openUploads(folder);
    const [bytes, other] = [randomBytes(50), randomBytes(50)];
    const wrong = uploads.append('ann', digestOf(bytes), { start: 0, end: 49, total: 50 }, body(other), 1e6);
    await expect(wrong).rejects.toThrow(`SHA-256 is ${digestOf(other)}`);
    await expect(wrong).rejects.toBeInstanceOf(Refusal);
    expect(readdirSync(folder, { recursive: true })).toHaveLength(1);
    expect(await send(uploads, bytes, 0, 50)).toEqual({ received: 50, complete: true });
  });

  test('leaves room for another: a client keeps two, the oldest goes', async () => {
    const uploads = openUploads(fresh());
    const three = [randomBytes(20), randomBytes(20), randomBytes(20)];
    for (const bytes of three) {
      await send(uploads, bytes, 0, 10);
      await new Promise((done) => setTimeout(done, 10));
    }
    const received = await Promise.all(
      three.map(async (bytes) => (await uploads.state('ann', digestOf(bytes))).received),
    );
    expect(received).toEqual([0, 10, 10]);
    await send(uploads, three[0]!, 0, 20, 'ben');
    expect((await uploads.state('ann', digestOf(three[2]!))).received).toBe(10);
  });
});

describe('many uploads of one client', () => {
  /** A body whose second half comes when it is let. */
  function slow(bytes: Uint8Array): { body: AsyncGenerator<Uint8Array>; go: () => void } {
    let go = (): void => undefined;
    const let_ = new Promise<void>((resolve) => (go = resolve));
    async function* both(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 10);
      await let_;
      yield bytes.subarray(10);
    }
    return { body: both(), go };
  }
  const whole = { start: 0, end: 19, total: 20 };

  test('never push out one that is being written', async () => {
    const uploads = openUploads(fresh());
    const three = [randomBytes(20), randomBytes(20), randomBytes(20)];
    const slowly = three.map(slow);
    const under = three
      .slice(0, 2)
      .map((bytes, i) => uploads.append('ann', digestOf(bytes), whole, slowly[i]!.body, 1e6));
    await expect.poll(async () => (await uploads.state('ann', digestOf(three[1]!))).received).toBe(10);
    await expect(send(uploads, three[2]!, 0, 20)).rejects.toMatchObject({ status: 409, code: 'busy' });
    for (const { go } of slowly) go();
    expect(await Promise.all(under)).toEqual([1, 2].map(() => ({ received: 20, complete: true })));
    expect(await send(uploads, three[2]!, 0, 20)).toEqual({ received: 20, complete: true });
  });

  test.for(['forget', 'clear'] as const)(
    'that are deleted while one is written (%s) are refused, and leave nothing',
    async (how) => {
      const folder = fresh();
      const uploads = openUploads(folder);
      const bytes = randomBytes(20);
      const { body: half, go } = slow(bytes);
      const writing = uploads.append('ann', digestOf(bytes), whole, half, 1e6);
      await expect.poll(async () => (await uploads.state('ann', digestOf(bytes))).received).toBe(10);
      await uploads[how]('ann');
      go();
      await expect(writing).rejects.toMatchObject({ status: 409, code: 'gone' });
      expect(existsSync(folder) ? readdirSync(folder, { recursive: true }) : []).toEqual([]);
    },
  );

  test('that are deleted while one is written leave alone what the client, back again, sends of the same', async () => {
    const uploads = openUploads(fresh());
    const bytes = new Uint8Array(randomBytes(20));
    const { body: half, go } = slow(bytes);
    const writing = uploads.append('ann', digestOf(bytes), whole, half, 1e6);
    await expect.poll(async () => (await uploads.state('ann', digestOf(bytes))).received).toBe(10);
    await uploads.forget('ann');
    await send(uploads, bytes, 0, 6);
    go();
    await expect(writing).rejects.toMatchObject({ status: 409, code: 'gone' });
    expect(await uploads.state('ann', digestOf(bytes))).toEqual({ received: 6, complete: false });
    expect(await send(uploads, bytes, 6, 20)).toEqual({ received: 20, complete: true });
  });
});

describe('payloads', () => {
  test('that cannot be taken over are not held', async () => {
    const folder = fresh();
    const blobs = await openBlobs(folder);
    const bytes = Uint8Array.of(7);
    await expect(blobs.adopt(digestOf(bytes), join(folder, 'nothing'))).rejects.toThrow('ENOENT');
    await blobs.put(() => [bytes]);
    await blobs.release(digestOf(bytes));
    expect(readdirSync(folder)).toEqual([]);
  });

  test('are kept once, as long as somebody holds them', async () => {
    const folder = fresh();
    const blobs = await openBlobs(folder);
    const bytes = Uint8Array.of(1, 2, 3);
    const [a, b] = await Promise.all([
      blobs.put(() => [bytes]),
      blobs.put(() => [bytes.subarray(0, 1), bytes.subarray(1)]),
    ]);
    expect(a).toEqual({ digest: digestOf(bytes), size: 3 });
    expect(b).toEqual(a);
    expect(readdirSync(folder)).toEqual([a.digest]);
    await blobs.release(a.digest);
    expect(new Uint8Array(await blobs.read(a.digest))).toEqual(bytes);
    // Let go of and wanted again at once: it is there.
    const [, again] = await Promise.all([blobs.release(a.digest), blobs.put(() => [bytes])]);
    expect(await blobs.find(again.digest)).toMatchObject({ size: 3 });
    await blobs.release(again.digest);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('that nobody holds after a restart are swept', async () => {
    const folder = fresh();
    const before = await openBlobs(folder);
    const kept = await before.put(() => [Uint8Array.of(1)]);
    await before.put(() => [Uint8Array.of(2)]);
    writeFileSync(join(folder, '.half.tmp'), '');
    const blobs = await openBlobs(folder);
    blobs.hold(kept.digest);
    await blobs.sweep();
    expect(readdirSync(folder)).toEqual([kept.digest]);
  });

  test('that the disk has changed are found out, and written anew when they come again', async () => {
    const folder = fresh();
    const before = await openBlobs(folder);
    const { digest } = await before.put(() => [Uint8Array.of(1, 2)]);
    writeFileSync(join(folder, digest), Uint8Array.of(1, 3));
    expect(await before.intact(digest)).toBe(false);
    const blobs = await openBlobs(folder);
    await blobs.put(() => [Uint8Array.of(1, 2)]);
    expect(await blobs.intact(digest)).toBe(true);
    await blobs.clear();
    expect(await blobs.intact(digest)).toBe(false);
  });
});
