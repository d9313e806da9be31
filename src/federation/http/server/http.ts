import { createReadStream } from 'node:fs';
import { createServer as createPlain, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecure } from 'node:https';
import { pipeline } from 'node:stream/promises';
import type { z } from 'zod';
import {
  descriptionSchema,
  digestSchema,
  failureSchema,
  joinSchema,
  LONGEST_WAIT,
  MESSAGE_BYTES,
  readyRequestSchema,
  sumsAnswerSchema,
  taskIdSchema,
  totalsSchema,
  updateSchema,
} from '../protocol.ts';
import { contentRange, requestedRange } from '../ranges.ts';
import { Refusal } from '../refusal.ts';
import type { Blobs } from './blobs.ts';
import type { Keys } from './keys.ts';
import { rateLimiter, type Rate } from './limits.ts';
import type { Service } from './service.ts';
import type { Uploads } from './uploads.ts';

export interface HttpParts {
  readonly service: Service;
  readonly keys: Keys;
  readonly blobs: Blobs;
  readonly uploads: Uploads;
  /** PEM texts; without them the server speaks plain HTTP. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly rate?: Rate;
  /** Told of errors that are the server's own. */
  readonly onError: (error: unknown) => void;
}

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  /** The last variable part of the path. */
  readonly name: string;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
}

interface Route {
  readonly method: string;
  readonly path: RegExp;
  run(call: Call, parts: HttpParts): Promise<unknown>;
}

/** Answered by the handler itself. */
const answered = Symbol('answered');

const bearer = ({ headers }: IncomingMessage): string => {
  const match = /^Bearer ([A-Za-z0-9_-]{1,200})$/.exec(headers.authorization ?? '');
  if (match === null) throw new Refusal(401, 'authorization', 'send `Authorization: Bearer …` with your key or token');
  return match[1]!;
};

const clientOf = ({ request }: Call, { keys }: HttpParts): string => keys.who(bearer(request));

const routes: readonly Route[] = [
  { method: 'GET', path: /^\/v1\/health$/, run: async () => ({ ok: true }) },
  {
    method: 'GET',
    path: /^\/v1\/readiness$/,
    run: async (_, { service }) => {
      const over = service.over();
      if (over !== undefined) throw new Refusal(503, 'over', `the run is over: ${over.why}`);
      return { ready: true };
    },
  },
  { method: 'GET', path: /^\/v1\/run$/, run: async (_, { service }) => descriptionSchema.parse(service.description) },
  {
    method: 'POST',
    path: /^\/v1\/join$/,
    run: async (call, { service }) => {
      const token = bearer(call.request);
      return service.join(await message(call, joinSchema), token);
    },
  },
  {
    method: 'POST',
    path: /^\/v1\/ready$/,
    run: async (call, parts) => {
      const client = clientOf(call, parts);
      parts.service.ready(client, (await message(call, readyRequestSchema)).data);
      return {};
    },
  },
  {
    method: 'GET',
    path: /^\/v1\/next$/,
    run: async (call, parts) => {
      const wait = Number(call.url.searchParams.get('wait') ?? '0');
      if (!(wait >= 0 && wait <= LONGEST_WAIT))
        throw new Refusal(400, 'wait', `\`wait\` is a number of seconds from 0 to ${LONGEST_WAIT}`);
      return parts.service.next(clientOf(call, parts), wait, call.signal);
    },
  },
  {
    method: 'POST',
    path: /^\/v1\/tasks\/([^/]+)\/progress$/,
    run: async (call, parts) => {
      const client = clientOf(call, parts);
      parts.service.progress(client, taskId(call), await message(call, totalsSchema));
      return {};
    },
  },
  {
    method: 'POST',
    path: /^\/v1\/tasks\/([^/]+)\/update$/,
    run: async (call, parts) => {
      const client = clientOf(call, parts);
      return parts.service.submit(client, taskId(call), await message(call, updateSchema));
    },
  },
  {
    method: 'POST',
    path: /^\/v1\/tasks\/([^/]+)\/sums$/,
    run: async (call, parts) => {
      const client = clientOf(call, parts);
      return parts.service.answer(client, taskId(call), await message(call, sumsAnswerSchema));
    },
  },
  {
    method: 'POST',
    path: /^\/v1\/tasks\/([^/]+)\/failure$/,
    run: async (call, parts) => {
      const client = clientOf(call, parts);
      return parts.service.fail(client, taskId(call), (await message(call, failureSchema)).reason);
    },
  },
  {
    method: 'GET',
    path: /^\/v1\/tasks\/([^/]+)\/outcome$/,
    run: async (call, parts) => parts.service.outcome(clientOf(call, parts), taskId(call)),
  },
  {
    method: 'GET',
    path: /^\/v1\/uploads\/([^/]+)$/,
    run: async (call, parts) => parts.uploads.state(clientOf(call, parts), digestIn(call)),
  },
  { method: 'PUT', path: /^\/v1\/uploads\/([^/]+)$/, run: upload },
  { method: 'GET', path: /^\/v1\/blobs\/([^/]+)$/, run: download },
];

const taskId = ({ name }: Call): string => {
  if (!taskIdSchema.safeParse(name).success) throw new Refusal(404, 'task', 'you have no such task in this run');
  return name;
};

const digestIn = ({ name }: Call): string => {
  if (!digestSchema.safeParse(name).success)
    throw new Refusal(400, 'digest', 'a payload is named by its SHA-256: 64 hexadecimal digits in lower case');
  return name;
};

async function upload(call: Call, parts: HttpParts): Promise<unknown> {
  const { request } = call;
  const client = clientOf(call, parts);
  const digest = digestIn(call);
  const piece = contentRange(request.headers['content-range']);
  if (piece === undefined)
    throw new Refusal(400, 'content-range', 'an upload needs `Content-Range: bytes first-last/total`');
  if (request.headers['content-length'] !== String(piece.end - piece.start + 1))
    throw new Refusal(411, 'length', '`Content-Length` must be given and that of the `Content-Range`');
  const most = parts.service.most(client);
  if (most === 0) throw new Refusal(409, 'no-task', 'no task of yours waits for an upload');
  return parts.uploads.append(client, digest, piece, request as AsyncIterable<Uint8Array>, most);
}

async function download(call: Call, parts: HttpParts): Promise<unknown> {
  const { request, response } = call;
  const client = clientOf(call, parts);
  const digest = digestIn(call);
  const found = parts.service.mayFetch(client, digest) ? await parts.blobs.find(digest) : undefined;
  if (found === undefined) throw new Refusal(404, 'blob', 'no open task of yours has such a payload');
  const { path, size } = found;
  const range = requestedRange(request.headers.range, size);
  const always = { 'accept-ranges': 'bytes', etag: `"${digest}"`, 'content-type': 'application/octet-stream' };
  if (range === 'outside') {
    response.writeHead(416, { ...always, 'content-range': `bytes */${size}` }).end();
    return answered;
  }
  const { start, end } = range ?? { start: 0, end: size - 1 };
  response.writeHead(range === undefined ? 200 : 206, {
    ...always,
    'content-length': size === 0 ? 0 : end - start + 1,
    ...(range !== undefined && { 'content-range': `bytes ${start}-${end}/${size}` }),
  });
  if (size === 0) response.end();
  else await pipeline(createReadStream(path, { start, end }), response);
  return answered;
}

/** The request's JSON, checked strictly. */
async function message<T>({ request }: Call, schema: z.ZodType<T>): Promise<T> {
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? ''))
    throw new Refusal(415, 'content-type', 'send `Content-Type: application/json`');
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MESSAGE_BYTES) throw new Refusal(413, 'too-large', `a message has at most ${MESSAGE_BYTES} bytes`);
    chunks.push(chunk);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new Refusal(400, 'json', 'this is not JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [first] = parsed.error.issues;
  throw new Refusal(422, 'message', `${first?.path.join('.') || 'the message'}: ${first?.message}`);
}

/** The server, not yet listening. Every answer is JSON but payloads; every refusal says why. */
export function httpServer(parts: HttpParts): Server {
  const limiter = rateLimiter(parts.rate ?? { perSecond: 100, burst: 400 });
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    handle(request, response, parts, limiter).catch((error: unknown) => fail(error, request, response, parts));
  };
  const server = parts.tls === undefined ? createPlain(listener) : createSecure(parts.tls, listener);
  // A request is read within these limits, or its connection is closed.
  server.headersTimeout = 20_000;
  server.requestTimeout = 600_000;
  server.keepAliveTimeout = 60_000;
  server.maxHeadersCount = 100;
  return server;
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  parts: HttpParts,
  limiter: ReturnType<typeof rateLimiter>,
): Promise<void> {
  const delay = limiter.take(caller(request, parts));
  if (delay > 0) {
    response.setHeader('retry-after', Math.ceil(delay));
    throw new Refusal(429, 'rate', 'too many requests; try again a little later');
  }
  const url = parsed(request.url ?? '/');
  const matching = routes.filter(({ path }) => path.test(url.pathname));
  const route = matching.find(({ method }) => method === request.method);
  if (route === undefined) {
    if (matching.length === 0) throw new Refusal(404, 'path', 'there is no such path');
    response.setHeader('allow', matching.map(({ method }) => method).join(', '));
    throw new Refusal(405, 'method', `this path takes ${matching.map(({ method }) => method).join(' and ')} only`);
  }
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const [, name = ''] = route.path.exec(url.pathname)!;
  const result = await route.run({ request, response, url, name, signal: gone.signal }, parts);
  if (result !== answered) send(response, 200, result);
}

/** A client by its name, a stranger by where it comes from. */
function caller(request: IncomingMessage, { keys }: HttpParts): string {
  try {
    return `client ${keys.who(bearer(request))}`;
  } catch (error) {
    if (error instanceof Refusal) return `address ${request.socket.remoteAddress ?? ''}`;
    throw error;
  }
}

function parsed(path: string): URL {
  try {
    return new URL(path, 'http://server');
  } catch {
    throw new Refusal(400, 'path', 'this is no path');
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response
    .writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
    })
    .end(text);
}

function fail(error: unknown, request: IncomingMessage, response: ServerResponse, { onError }: HttpParts): void {
  const refusal = error instanceof Refusal ? error : undefined;
  if (refusal === undefined && !response.destroyed && !request.destroyed) onError(error);
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { status, code, message, received } = refusal ?? new Refusal(500, 'server', 'the server failed; try again');
  // What was not read of the request would be taken for the next one.
  if (!request.complete) response.setHeader('connection', 'close');
  send(response, status, { error: { code, message }, ...(received !== undefined && { received }) });
}
