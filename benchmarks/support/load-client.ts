/**
 * Many clients in one process, for the load benchmark: `node load-client.js MEGABYTES`. Told `{url, run, clients: [{name, token, number}], idle}`
 * they join; told anything more, they take part until the run is over, each with its own connection and its ready-made update, and
 * with all that a client asks: the task over a WebSocket, the round's tensors (checked by SHA-256), the upload in pieces, the
 * update. With `idle: 'socket'` or `'poll'` they only wait for a task.
 */
import { createHash } from 'node:crypto';
import { Agent, request } from 'node:http';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { openLine, type Line } from '../../src/federation/http/client/line.ts';
import { PROTOCOL, UPLOAD_PIECE, type Next, type UploadState } from '../../src/federation/http/protocol.ts';
import { newSecret } from '../../src/federation/http/server/keys.ts';
import { adapterOf, updatesLike } from './load-work.ts';

interface Work {
  readonly url: string;
  readonly run: string;
  readonly clients: readonly { readonly name: string; readonly token: string; readonly number: number }[];
  readonly idle: 'socket' | 'poll' | null;
}

const lines = createInterface({ input: process.stdin });
const tell = (line: object): void => console.log(JSON.stringify(line));
const ended = once(lines, 'close');
const { url, run, clients, idle } = JSON.parse(String((await once(lines, 'line'))[0])) as Work;
const go = once(lines, 'line');

type Ask = (method: string, path: string, body?: Uint8Array | object, headers?: object) => Promise<Answer>;
interface Answer {
  readonly json: unknown;
  /** Of the bytes of a payload. */
  readonly digest: string;
  readonly size: number;
}

/** Asks with one connection that is kept; throws for every refusal. */
function asking(key: string, agent: Agent): Ask {
  return (method, path, body, headers = {}) =>
    new Promise((done, failed) => {
      const bytes = body === undefined || body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body));
      const type = body instanceof Uint8Array ? 'application/octet-stream' : 'application/json';
      const asked = request(
        `${url}/v1/${path}`,
        {
          method,
          agent,
          headers: {
            authorization: `Bearer ${key}`,
            ...(bytes && { 'content-type': type, 'content-length': bytes.length }),
            ...headers,
          },
        },
        (response) => {
          const payload = response.headers['content-type'] === 'application/octet-stream';
          const hash = createHash('sha256');
          const parts: Buffer[] = [];
          let size = 0;
          response.on('data', (chunk: Buffer) => {
            size += chunk.length;
            if (payload) hash.update(chunk);
            else parts.push(chunk);
          });
          response.on('error', failed);
          response.on('end', () => {
            const text = Buffer.concat(parts).toString('utf8');
            if (response.statusCode! >= 400) failed(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
            else
              done({ json: payload ? undefined : JSON.parse(text), digest: payload ? hash.digest('hex') : '', size });
          });
        },
      );
      asked.on('error', failed);
      asked.end(bytes);
    });
}

/** So many at a time. */
async function each<T>(items: readonly T[], atOnce: number, body: (item: T) => Promise<void>): Promise<void> {
  const left = items[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const item of left) await body(item);
    }),
  );
}

const joining = new Agent({ keepAlive: true, maxSockets: 8 });
const keys = new Map<string, string>();
await each(clients, 8, async ({ name, token }) => {
  const key = newSecret();
  await asking(token, joining)('POST', 'join', { protocol: PROTOCOL, fedlora: 'benchmark', run, key });
  const data = { train: 1, validation: 0, test: 0, labelledTokens: 1 };
  await asking(key, joining)('POST', 'ready', { data });
  keys.set(name, key);
});
joining.destroy();
tell({ is: 'joined' });
await Promise.race([go, ended]);

const open = (name: string): Promise<Line> =>
  openLine({ url, key: keys.get(name)!, signal: new AbortController().signal, handshake: 120 });

let cuts = 0;

/** Lost connections are tried again, as every client does; everything else is an error. */
async function cut(error: unknown): Promise<void> {
  if (!['ECONNRESET', 'EPIPE'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  if (++cuts > 10 * clients.length) throw error;
  await new Promise((done) => setTimeout(done, 500));
}

async function again<T>(body: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await body();
    } catch (error) {
      await cut(error);
    }
  }
}

async function takesPart(name: string, update: () => Uint8Array, digest: string): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = asking(keys.get(name)!, agent);
  const line = await open(name);
  for (;;) {
    const next = await line.next(600);
    if (next === undefined) throw new Error(`${name}: ${line.broken()}`);
    if (next.kind === 'over') break;
    if (next.kind === 'wait') continue;
    const { task } = next;
    if (task.kind !== 'train' || task.sent === null) throw new Error('this is no task of this benchmark');
    const sent = await again(() => ask('GET', `blobs/${task.sent!.digest}`));
    if (sent.digest !== task.sent.digest) throw new Error('these are other bytes');
    const bytes = update();
    for (;;) {
      const { json } = await again(() => ask('GET', `uploads/${digest}`));
      let { received, complete } = json as UploadState;
      try {
        while (!complete) {
          const piece = bytes.subarray(received, received + UPLOAD_PIECE);
          const range = { 'content-range': `bytes ${received}-${received + piece.length - 1}/${bytes.length}` };
          ({ received, complete } = (await ask('PUT', `uploads/${digest}`, piece, range)).json as UploadState);
        }
        break;
      } catch (error) {
        // A connection that was cut: the server says how far it is.
        await cut(error);
      }
    }
    const totals = { step: 1, steps: 1, tokens: 1, processed: 1, lossSum: 1 };
    await again(() => ask('POST', `tasks/${task.id}/update`, { digest, weight: 1, seconds: 0, totals }));
  }
  line.close();
  agent.destroy();
}

if (idle === null) {
  const updates = updatesLike(adapterOf(Number(process.argv[2])));
  const digests = clients.map(({ number }) => createHash('sha256').update(updates.own(number)).digest('hex'));
  tell({ is: 'made' });
  await Promise.all(clients.map(({ name, number }, i) => takesPart(name, () => updates.own(number), digests[i]!)));
  tell({ is: 'done', cuts });
} else if (idle === 'socket') {
  const open_: Line[] = [];
  await each(clients, 32, async ({ name }) => {
    const line = await open(name);
    if ((await line.next(60))?.kind !== 'wait') throw new Error(`${name}: ${line.broken()}`);
    open_.push(line);
  });
  tell({ is: 'idle', open: open_.length });
  await ended;
  const broken = open_.find((line) => line.broken() !== undefined)?.broken();
  if (broken !== undefined) throw new Error(`a WebSocket broke: ${broken}`);
  for (const line of open_) line.close();
} else {
  let waiting = 0;
  const polls = clients.map(async ({ name }, i) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ask = asking(keys.get(name)!, agent);
    // At different times, as they would.
    await new Promise((done) => setTimeout(done, (i * 20_000) / clients.length));
    waiting++;
    if (waiting === clients.length) tell({ is: 'idle', open: waiting });
    for (;;) {
      const { json } = await ask('GET', 'next?wait=20');
      if ((json as Next).kind !== 'wait') throw new Error('this is no waiting');
    }
  });
  // Whoever has a poll under way ends with the process.
  await Promise.race([ended, Promise.all(polls)]);
  process.exit(0);
}
lines.close();
process.stdin.destroy();
