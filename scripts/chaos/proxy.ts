import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { OutcomeMessage, UpdateMessage } from '../../src/federation/http/protocol.ts';
import { asked, decrypting, type Certified } from './encrypted.ts';
import type { Moment, RequestKind } from './plan.ts';
import { digestOf, noteNext, noteUpdate, pieces, type Heard, type Seen } from './seen.ts';
import { passSocket } from './socket-wire.ts';
import type { Mischief } from './wire.ts';

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export interface Wire {
  readonly url: string;
  close(): Promise<void>;
}

/** One client's connection to the server: hands requests on, and does to each what the plan says. */
export async function openWire(parts: {
  readonly client: string;
  /** Whether the client may have a WebSocket. */
  readonly sockets: boolean;
  /** Set where the client speaks TLS: the server's certificate, once there is one. */
  readonly certificate: (() => Certified | undefined) | undefined;
  /** Where the run is now; undefined while its server is down. */
  readonly upstream: () => string | undefined;
  readonly seen: Seen;
  readonly mischief: (n: number, kind: RequestKind) => Mischief;
  /** The byte of the n-th connection's TLS records in which a bit is flipped, where any is. */
  readonly spoilt: (n: number) => number | undefined;
  /** Told as requests pass, so that something can happen just then. */
  readonly passing: (kind: RequestKind, client: string, when: Moment['when'], answer?: Buffer) => void;
  /** Told of every request and what became of it, for people. */
  readonly log: (line: string) => void;
  /** The digest of the update that the client keeps by itself, while it tells the server that there is one. */
  readonly kept: () => string | undefined;
}): Promise<Wire> {
  const { client, sockets, certificate, upstream, seen, mischief, spoilt, passing, log, kept: keptAt } = parts;
  const piece = pieces(seen);
  const closed = new AbortController();
  let count = 0;

  /** Sends a request on; the server's yes to an update is noted even if nobody else ever hears it. */
  async function hand(heard: Heard, kind: RequestKind, how: Mischief, signal: AbortSignal): Promise<Answer> {
    const answer = await exchange(heard, upstream(), how, signal, () => passing(kind, client, 'during'));
    if (kind === 'join' && answer.status === 200)
      seen.used.add(heard.headers['authorization']!.slice('Bearer '.length));
    if (answer.status === 200 || answer.status === 206) note(heard, kind, answer.body);
    return answer;
  }

  function note(heard: Heard, kind: RequestKind, body: Buffer): void {
    const [, , what, name = '', last = ''] = heard.path.split('/');
    if (kind === 'next') noteNext(seen, client, body);
    if (kind === 'blob' && digestOf(body) === name) seen.payloads.set(name, body);
    if (what !== 'tasks' || (last !== 'update' && last !== 'outcome')) return;
    const outcome = JSON.parse(body.toString('utf8')) as OutcomeMessage;
    seen.outcomes.push({ ...outcome, client, task: name });
    if (kind !== 'update' || (outcome.outcome !== 'received' && outcome.outcome !== 'accepted')) return;
    const message = JSON.parse(Buffer.from(heard.body).toString('utf8')) as UpdateMessage;
    seen.acknowledged.push({ client, task: name, message });
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const n = count++;
    const heard: Heard = {
      client,
      method: request.method ?? 'GET',
      path: request.url ?? '/',
      headers: kept(request.headers),
      body: await bodyOf(request),
    };
    const kind = kindOf(heard.method, heard.path);
    seen.requests.push(heard);
    if (kind === 'update') {
      const { task, message } = noteUpdate(seen, heard);
      const digest = message.weight === null ? keptAt() : undefined;
      if (digest !== undefined) seen.kept.set(task, digest);
    }
    if (kind === 'upload' && heard.method === 'PUT') piece(heard);
    const how = mischief(n, kind);
    const line = `${n} ${heard.method} ${heard.path.slice(0, 60)} ${how.kind === 'none' ? '' : JSON.stringify(how)}`;
    log(line);
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const signal = AbortSignal.any([gone.signal, closed.signal]);
    passing(kind, client, 'before');
    if (how.kind === 'cut' && how.where === 'before') throw new Cut();
    if (how.kind === 'delayed') await setTimeout(how.request, undefined, { signal });
    if (how.kind === 'out of order') {
      setTimeout(how.later, undefined, { signal: closed.signal })
        .then(() => hand(heard, kind, { kind: 'none' }, closed.signal))
        .catch(() => undefined);
      throw new Cut();
    }
    const answer = await (how.kind === 'sent twice' ? twice(heard, kind, how, signal) : hand(heard, kind, how, signal));
    log(`${line} ${answer.status}`);
    passing(kind, client, 'after', answer.body);
    if (how.kind === 'delayed') await setTimeout(how.answer, undefined, { signal });
    await reply(response, kind === 'blob' ? damaged(answer, how) : answer, how);
  }

  async function twice(
    heard: Heard,
    kind: RequestKind,
    how: Extract<Mischief, { kind: 'sent twice' }>,
    signal: AbortSignal,
  ): Promise<Answer> {
    // The second one arrives whatever the client does.
    const both = [
      hand(heard, kind, how, signal),
      setTimeout(how.apart, undefined, { signal: closed.signal }).then(() => hand(heard, kind, how, closed.signal)),
    ];
    for (const one of both) one.catch(() => undefined);
    return both[how.answer]!;
  }

  async function upgraded(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const how = mischief(count++, 'socket');
    log(`WebSocket ${JSON.stringify(how)}`);
    const to = upstream();
    if (!sockets || to === undefined || how.kind === 'out of order' || (how.kind === 'cut' && how.where === 'before'))
      throw new Cut();
    passing('socket', client, 'before');
    const kindIn = (text: Buffer): string => (JSON.parse(text.toString('utf8')) as { kind: string }).kind;
    await passSocket(
      { request, socket, head },
      {
        upstream: to,
        how,
        signal: closed.signal,
        said: (text) => {
          log(`says ${text.toString('utf8').slice(0, 60)}`);
          const kind = kindIn(text) === 'next' ? 'next' : 'progress';
          passing(kind, client, 'before');
          passing(kind, client, 'during');
        },
        told: (text) => {
          log(`is told ${text.toString('utf8').slice(0, 120)}`);
          if (noteNext(seen, client, text) !== undefined) seen.overSockets++;
          passing(['heard', 'refused'].includes(kindIn(text)) ? 'progress' : 'next', client, 'after', text);
        },
      },
    );
  }

  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    upgraded(request, socket, head).catch(() => socket.destroy());
  });
  let connections = 0;
  const open = new Set<Socket>();
  const listener =
    certificate === undefined
      ? server
      : decrypting(
          certificate,
          () => spoilt(connections++),
          (socket) => {
            open.add(socket);
            socket.on('close', () => open.delete(socket));
            server.emit('connection', socket);
          },
        );
  await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done));
  return {
    url: `${certificate === undefined ? 'http' : 'https'}://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    close: () =>
      new Promise((done) => {
        closed.abort();
        listener.close(() => done());
        server.closeAllConnections();
        for (const socket of open) socket.destroy();
      }),
  };
}

class Cut extends Error {
  override readonly name = 'Cut';
}

async function bodyOf(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const dropped = new Set(['host', 'connection', 'transfer-encoding', 'keep-alive']);
const kept = (headers: IncomingMessage['headers']): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      dropped.has(name) || value === undefined ? [] : [[name, String(value)]],
    ),
  );

export function kindOf(method: string, path: string): RequestKind {
  const [, , what = '', , last = ''] = path.split(/[/?]/);
  if (what === 'uploads') return method === 'PUT' ? 'upload' : 'outcome';
  if (what === 'blobs') return 'blob';
  if (what === 'tasks')
    return last === 'failure' ? 'sums' : (last as 'update' | 'sums' | 'secure' | 'progress' | 'outcome');
  return ['join', 'ready', 'next'].includes(what) ? (what as 'join') : 'outcome';
}

/** One request to the server and its whole answer. Rejects where the connection breaks. */
async function exchange(
  { method, path, headers, body }: Heard,
  to: string | undefined,
  how: Mischief,
  signal: AbortSignal,
  halfway: () => void,
): Promise<Answer> {
  if (to === undefined) throw new Cut();
  const { pathname } = new URL(to);
  const at = `${pathname.replace(/\/$/, '')}${path}`;
  const sent = how.kind === 'damaged on the wire' && method === 'PUT' ? flipped(body, how.at) : body;
  return new Promise((done, failed) => {
    const outgoing = asked({ url: to, method, path: at, headers, agent: false, signal }, (response) => {
      bodyOf(response).then(
        (bytes) => done({ status: response.statusCode!, headers: response.headers, body: bytes }),
        failed,
      );
    });
    outgoing.on('error', failed);
    write(outgoing, sent, how, halfway).catch(failed);
  });
}

async function write(
  outgoing: ReturnType<typeof asked>,
  body: Uint8Array,
  how: Mischief,
  halfway: () => void,
): Promise<void> {
  if (how.kind === 'cut' && how.where === 'request') {
    outgoing.write(body.subarray(0, Math.floor(how.share * body.length)));
    await setTimeout(5);
    outgoing.destroy(new Cut());
    return;
  }
  const chunk = how.kind === 'throttled' ? how.chunk : Math.ceil(body.length / 2);
  for (let at = 0; at < body.length; at += chunk) {
    outgoing.write(body.subarray(at, at + chunk));
    if (at < body.length / 2 && at + chunk >= body.length / 2) halfway();
    if (how.kind === 'throttled') await setTimeout(how.pause);
  }
  outgoing.end();
  if (body.length === 0) halfway();
}

function flipped(body: Uint8Array, share: number): Buffer {
  const bytes = Buffer.from(body);
  if (bytes.length > 0) bytes[Math.floor(share * bytes.length)]! ^= 1 << (Math.floor(share * 997) % 8);
  return bytes;
}

const damaged = (answer: Answer, how: Mischief): Answer =>
  how.kind === 'damaged on the wire' && answer.status < 300
    ? { ...answer, body: flipped(answer.body, how.at) }
    : answer;

async function reply(response: ServerResponse, { status, headers, body }: Answer, how: Mischief): Promise<void> {
  response.writeHead(status, { ...kept(headers), 'content-length': body.length });
  if (how.kind === 'cut') {
    response.write(body.subarray(0, Math.floor(how.share * body.length)));
    await setTimeout(5);
    throw new Cut();
  }
  if (how.kind !== 'throttled') {
    response.end(body);
    return;
  }
  for (let at = 0; at < body.length; at += how.chunk) {
    response.write(body.subarray(at, at + how.chunk));
    await setTimeout(how.pause);
  }
  response.end();
}
