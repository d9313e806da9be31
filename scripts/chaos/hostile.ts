import { setTimeout } from 'node:timers/promises';
import { newSecret } from '../../src/federation/http/server/keys.ts';
import { timeoutSignal } from '../../src/federation/timeout-signal.ts';
import type { Random } from '../../src/tensor/random.ts';
import { asked } from './encrypted.ts';
import type { Heard, Seen } from './seen.ts';

/** A request as somebody hostile writes it. */
export interface Attempt {
  readonly what: string;
  readonly method: string;
  readonly path: string;
  readonly key?: string;
  readonly body?: Uint8Array | object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The answer's status, or undefined where the connection ended without one. */
export function attempt(
  url: string,
  { method, path, key, body, headers }: Attempt,
  signal: AbortSignal,
): Promise<{ status: number; body: Buffer } | undefined> {
  const bytes = body instanceof Uint8Array || typeof body === 'string' ? body : body && JSON.stringify(body);
  const { pathname } = new URL(url);
  return new Promise((done) => {
    const outgoing = asked(
      {
        url,
        method,
        path: `${pathname.replace(/\/$/, '')}${path}`,
        agent: false,
        signal: AbortSignal.any([signal, timeoutSignal(30_000)]),
        headers: {
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
          ...(bytes !== undefined && { 'content-length': Buffer.byteLength(bytes) }),
          ...(body !== undefined && !(body instanceof Uint8Array) && { 'content-type': 'application/json' }),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response
          .on('data', (chunk: Buffer) => chunks.push(chunk))
          .on('end', () => {
            const answer = { status: response.statusCode!, body: Buffer.concat(chunks) };
            // Of two runs one may have stopped: then nobody is served there.
            done(answer.status === 503 && answer.body.includes('"not-served"') ? undefined : answer);
          })
          .on('error', () => done(undefined));
      },
    );
    outgoing.on('upgrade', (response, socket) => {
      socket.destroy();
      done({ status: response.statusCode!, body: Buffer.alloc(0) });
    });
    outgoing.on('error', () => done(undefined));
    outgoing.end(bytes);
  });
}

/** What was tried, and answered as if it were good, or with a failure of the server's. */
export const unexpected = ({ what, method, path }: Attempt, status: number | undefined): string[] =>
  status === undefined || (status >= 400 && status < 500)
    ? []
    : [`${what} (${method} ${path.slice(0, 80)}) was answered with ${status}`];

interface Hostile {
  /** Where the run is now. */
  readonly url: () => string | undefined;
  readonly seen: Seen;
  readonly random: Random;
  readonly signal: AbortSignal;
}

type Tried = Promise<{ readonly tried: number; readonly problems: string[] }>;

/**
 * People without a key, for as long as the run lasts: they guess, forge, replay what they have seen of others under keys of their
 * own, and send what is too large or no message at all. Nothing of it may be taken, and nothing may make the server fail.
 */
export const strangers = (parts: Hostile): Tried => tryAll(parts, () => attempts(parts));

/** Clients of another run on the same server, who ask this one with the keys that they have there. */
export const strayed = (parts: Hostile): Tried =>
  tryAll(parts, () => {
    const { method, path, headers, body } = anyOf(parts) ?? { method: 'GET', path: '/v1/next?wait=0', headers: {} };
    return [{ what: 'a client of another run', method, path, headers, ...(body && { body }) }];
  });

async function tryAll({ url, random, signal }: Hostile, list: () => readonly Attempt[]): Tried {
  const problems: string[] = [];
  let tried = 0;
  while (!signal.aborted) {
    const to = url();
    const some = list();
    const one = some[random.integer(some.length)]!;
    if (to !== undefined) {
      const answer = await attempt(to, one, signal);
      if (answer !== undefined) tried++;
      problems.push(...unexpected(one, answer?.status));
    }
    await setTimeout(20 + random.integer(80), undefined, { signal }).catch(() => undefined);
  }
  return { tried, problems };
}

/** A request that a client has sent with its key. */
function anyOf({ seen, random }: Pick<Hostile, 'seen' | 'random'>): Heard | undefined {
  const requests = seen.requests.filter(({ path }) => !path.startsWith('/v1/run') && !path.startsWith('/v1/join'));
  return requests[random.integer(Math.max(1, requests.length))];
}

const upgrading = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
};

function attempts({ seen, random }: { readonly seen: Seen; readonly random: Random }): Attempt[] {
  const key = newSecret();
  const heard = anyOf({ seen, random });
  const { authorization: _, ...headers } = heard?.headers ?? {};
  const [task = '0'.repeat(32)] = random.shuffle([...seen.sent.keys()]);
  const [digest = '0'.repeat(64)] = random.shuffle([...seen.payloads.keys()]);
  const good = { digest, weight: 1, seconds: 0, totals: { step: 1, steps: 1, tokens: 1, processed: 1, lossSum: 0 } };
  const joining = seen.requests.find(({ path }) => path === '/v1/join');
  const join = { ...(joining && (JSON.parse(Buffer.from(joining.body).toString('utf8')) as object)), key };
  return [
    { what: 'a guessed key', method: 'GET', path: '/v1/next?wait=0', key },
    { what: 'a forged update', method: 'POST', path: `/v1/tasks/${task}/update`, key, body: good },
    { what: 'an update without a key', method: 'POST', path: `/v1/tasks/${task}/update`, body: good },
    {
      what: 'a forged upload',
      method: 'PUT',
      path: `/v1/uploads/${digest}`,
      key,
      body: new Uint8Array(64),
      headers: { 'content-range': 'bytes 0-63/64' },
    },
    { what: 'another’s payload', method: 'GET', path: `/v1/blobs/${digest}`, key },
    { what: 'a guessed token', method: 'POST', path: '/v1/join', key, body: join },
    ...[...seen.used]
      .slice(0, 1)
      .map((token) => ({ what: 'a used token', method: 'POST', path: '/v1/join', key: token, body: join })),
    ...(heard === undefined
      ? []
      : [
          {
            what: 'another’s request, replayed with another key',
            method: heard.method,
            path: heard.path,
            key,
            body: heard.body,
            headers,
          },
          {
            what: 'another’s request, replayed without a key',
            method: heard.method,
            path: heard.path,
            body: heard.body,
            headers,
          },
        ]),
    {
      what: 'an oversized message',
      method: 'POST',
      path: '/v1/join',
      key,
      body: { ...join, key: 'x'.repeat(300_000) },
    },
    {
      what: 'an oversized upload',
      method: 'PUT',
      path: `/v1/uploads/${digest}`,
      key,
      body: new Uint8Array(100_000),
      headers: { 'content-range': 'bytes 0-99999/999999999999' },
    },
    { what: 'no JSON', method: 'POST', path: '/v1/join', key, body: '{"protocol":1,' },
    { what: 'deep JSON', method: 'POST', path: '/v1/join', key, body: '['.repeat(60_000) },
    { what: 'a path out of the folder', method: 'GET', path: '/v1/blobs/..%2f..%2fserver.sqlite', key },
    { what: 'a path of no kind', method: 'GET', path: '/v1/tasks/%00/outcome', key },
    { what: 'a broken escape', method: 'GET', path: '/v1/blobs/%zz', key },
    { what: 'a method that is not there', method: 'DELETE', path: '/v1/join', key },
    { what: 'a WebSocket with a guessed key', method: 'GET', path: '/v1/socket', key, headers: upgrading },
    { what: 'a WebSocket without a key', method: 'GET', path: '/v1/socket', headers: upgrading },
    {
      what: 'a contribution to a sum with a guessed key',
      method: 'POST',
      path: `/v1/tasks/${task}/secure`,
      key,
      body: { kind: 'reveal', from: 0, shares: [] },
    },
    { what: 'a stop of the run', method: 'POST', path: '/v1/admin/stop', key },
    { what: 'the clients’ list', method: 'GET', path: '/v1/admin/clients', key },
    { what: 'large headers', method: 'GET', path: '/v1/next', key, headers: { 'x-large': 'x'.repeat(40_000) } },
  ];
}
