import { createHash } from 'node:crypto';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { temporaryFolder } from '../../../../tests/support/temporary.ts';
import type { BlobRef, TaskMessage } from '../protocol.ts';
import { ANSWER_BYTES } from './answer.ts';
import { openApi, type Api } from './api.ts';
import { openClientState, type ClientState } from './state.ts';
import { takePart, type TakePart } from './take-part.ts';
import { mostAnswers } from './upload.ts';

// A server that means no good, or is broken, and a client whose disk and memory it would fill.

const root = temporaryFolder();
const digest = (n: number): string => createHash('sha256').update(String(n)).digest('hex');
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function serving(answer: RequestListener): Promise<Api> {
  const server = createServer(answer);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return openApi({ url: `http://127.0.0.1:${port}`, patience: 1, signal: new AbortController().signal });
}

/** Bytes for as long as anybody listens; `sent` counts them. */
function withoutEnd(response: ServerResponse, sent: { bytes: number }): void {
  const piece = Buffer.alloc(2 ** 16, 'x');
  const more = (): void => {
    while (!response.destroyed) {
      sent.bytes += piece.length;
      if (!response.write(piece)) return void response.once('drain', more);
    }
  };
  more();
}

const sizeOf = (folder: string): number =>
  readdirSync(folder, { recursive: true }).reduce<number>(
    (sum, name) => sum + statSync(join(folder, String(name))).size,
    0,
  );

describe('an answer without end', () => {
  test.each([200, 400])('is left after a few megabytes, with status %d', async (status) => {
    const sent = { bytes: 0 };
    const api = await serving((_, response) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.write('{"protocol":"');
      withoutEnd(response, sent);
    });
    await expect(api.describe()).rejects.toThrow(`the answer to run has more than ${ANSWER_BYTES} bytes`);
    // What was on its way besides.
    expect(sent.bytes).toBeLessThan(ANSWER_BYTES + 32 * 2 ** 20);
  });

  test('and one that is no JSON is no fedlora server', async () => {
    const api = await serving((_, response) => void response.end('<html>'));
    await expect(api.describe()).rejects.toThrow('is it a fedlora server?');
  });
});

describe('a payload', () => {
  const blob: BlobRef = { digest: digest(1), size: 100_000 };

  test.each([200, 206])(
    'that is longer than the server said is left at that length, with status %d',
    async (status) => {
      const api = await serving((_, response) => {
        response.writeHead(status);
        withoutEnd(response, { bytes: 0 });
      });
      const path = join(root, `long ${status}`);
      await expect(api.downloadTo(path, blob)).rejects.toThrow('is longer than the server said');
      expect(statSync(`${path}.part`).size).toBeLessThanOrEqual(blob.size);
    },
  );

  test('that begins anew for ever, and is never whole, ends with the client’s patience', async () => {
    const api = await serving((_, response) => void response.writeHead(200).end(Buffer.alloc(10)));
    await expect(api.downloadTo(join(root, 'anew'), blob)).rejects.toThrow('did not answer for 1 s');
  });
});

describe('a payload that comes and is taken back by turns', () => {
  test('is left after ten times', async () => {
    let requests = 0;
    const api = await serving((_, response) => {
      // Two of five bytes; then one of an answer that begins anew.
      if (requests++ % 2 === 0) response.writeHead(206).end(Buffer.alloc(2));
      else response.writeHead(200).end(Buffer.alloc(1));
    });
    const blob = { digest: digest(1), size: 5 };
    await expect(api.downloadTo(join(root, 'by turns'), blob)).rejects.toThrow(
      `the server has begun payload ${blob.digest} anew 11 times`,
    );
  }, 30_000);
});

describe('an upload', () => {
  const payload = Buffer.alloc(10);
  const path = `/v1/uploads/${digest(1)}`;

  /** A server that has of an upload what it says, whatever it is sent; 409s in place of 200s where asked for. */
  async function saying(has: (puts: number) => object, status = 200) {
    const asked: string[] = [];
    const api = await serving((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      const puts = asked.filter((one) => one.startsWith('PUT')).length;
      const put = request.method === 'PUT';
      request.resume().once('end', () => {
        response.writeHead(put ? status : 200);
        const refused = { error: { code: 'order', message: 'another byte is next' }, ...has(puts) };
        response.end(JSON.stringify(put && status !== 200 ? refused : { complete: false, ...has(puts) }));
      });
    });
    return { upload: () => api.upload(digest(1), payload), puts: () => asked.filter((one) => one === `PUT ${path}`) };
  }

  test.each([200, 409])('that stays where it is ends with the client’s patience, with status %d', async (status) => {
    const { upload, puts } = await saying(() => ({ received: 0 }), status);
    await expect(upload()).rejects.toThrow(
      `did not answer for 1 s: the server stays at byte 0 of the 10 of upload ${digest(1)}`,
    );
    // Pauses of at least 0.1, 0.2, 0.4 s.
    expect(puts().length).toBeLessThan(6);
  });

  test.each([200, 409])('that goes back by turns ends after so many answers, with status %d', async (status) => {
    const { upload, puts } = await saying((n) => ({ received: n % 2 }), status);
    await expect(upload()).rejects.toThrow(
      `after 56 answers the server has 0 of the 10 bytes of upload ${digest(1)}: it does not come to an end`,
    );
    expect(puts()).toHaveLength(mostAnswers(payload.length));
  });

  test('of which the server has more than there is, or says something else, ends at once', async () => {
    const more = await saying((n) => ({ received: n * 11 }));
    await expect(more.upload()).rejects.toThrow(`has 11 bytes of upload ${digest(1)}, it says, of 10`);
    const other = await saying((n) => ({ received: n === 0 ? 0 : 'all' }));
    await expect(other.upload()).rejects.toThrow('is it a fedlora server?');
  });

  test('whose last byte is there is waited for', async () => {
    const { upload, puts } = await saying((n) => ({ received: n === 0 ? 0 : 10 }));
    const done = upload();
    await expect(done).rejects.toThrow('stays at byte 10 of the 10');
    expect(puts()).toHaveLength(1);
  });
});

describe('a client that lends 10 kB of its disk', () => {
  const place = { method: 'method', stage: 'federated', stageIndex: 0 };
  const train = (n: number, frozen: readonly BlobRef[], sent: BlobRef | null): TaskMessage => ({
    kind: 'train',
    id: digest(n).slice(0, 32),
    place,
    round: 0,
    draw: 0,
    frozen: [...frozen],
    sent,
  });

  /** What a client tells the server, and fetches, of these tasks; and the most that lay on its disk. */
  async function given(name: string, tasks: readonly TaskMessage[], before?: (state: ClientState) => Promise<void>) {
    const folder = join(root, name);
    const state = await openClientState(folder, 'ann', { run: 'r' });
    closing.push(() => state.close());
    await before?.(state);
    const list = [...tasks];
    const [told, fetched]: [string[], number[]] = [[], []];
    let most = 0;
    const part = takePart({
      api: {
        next: () => {
          const task = list.shift();
          return Promise.resolve(task ? { kind: 'task', task } : { kind: 'over', how: 'stopped', why: '' });
        },
        fail: (_, reason) => Promise.resolve({ outcome: 'refused', reason: String(told.push(reason)) }),
        outcome: () => Promise.resolve({ outcome: 'received' }),
        downloadTo: (path, { size }) => {
          writeFileSync(path, Buffer.alloc(size));
          fetched.push(size);
          most = Math.max(most, sizeOf(join(folder, 'payloads')));
          return Promise.reject(new Error('and then it is gone'));
        },
      } as Partial<TakePart['api']> as TakePart['api'],
      state,
      worker: {} as TakePart['worker'],
      signal: new AbortController().signal,
      beat: 100,
      limits: { disk: 10_000 },
    });
    for await (const _ of part);
    return { told, fetched, most, state };
  }

  const why = (size: string): string =>
    `it would take ${size} on this client's disk, and what the server sends in this run may take 10.0 kB`;

  test('fetches nothing of a task that would take more, and says why', async () => {
    const big = { digest: digest(2), size: 5e9 };
    const evaluate: TaskMessage = {
      kind: 'evaluate',
      id: digest(9).slice(0, 32),
      of: 'global',
      rows: 'test',
      place,
      model: big,
    };
    const small = [3, 4, 5].map((n) => ({ digest: digest(n), size: 4000 }));
    const tasks = [train(1, [], big), train(2, [big], null), train(3, small, null), evaluate];
    const { told, fetched } = await given('big', tasks);
    expect(told).toEqual([why('5.0 GB'), why('5.0 GB'), why('12.0 kB'), why('5.0 GB')]);
    expect(fetched).toEqual([]);
  });

  test('keeps only what the latest task names, however many there are', async () => {
    const tasks = Array.from({ length: 30 }, (_, n) => train(n, [{ digest: digest(n), size: 6000 }], null));
    const { fetched, most } = await given('many', tasks);
    expect(fetched).toHaveLength(30);
    expect(most).toBe(6000);
  });

  test('does not pile up finished updates of which it never hears again', async () => {
    const totals = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };
    const finished = async (state: ClientState): Promise<void> => {
      for (const n of [1, 2, 3]) {
        const message = { digest: digest(n), weight: 1, seconds: 0, totals };
        await state.keep({ id: `${n}`, place, round: 0, message }, [Buffer.alloc(3000)], null);
      }
    };
    const task = train(7, [], { digest: digest(7), size: 2000 });
    const { told, fetched, state } = await given('finished', [task], finished);
    expect(await state.held()).toBe(9000);
    expect(told).toEqual([why('11.0 kB')]);
    expect(fetched).toEqual([]);
  });
});
