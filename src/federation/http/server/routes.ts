import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import {
  descriptionSchema,
  digestSchema,
  failureSchema,
  joinSchema,
  LONGEST_WAIT,
  readyRequestSchema,
  sumsAnswerSchema,
  taskIdSchema,
  totalsSchema,
  updateSchema,
} from '../protocol.ts';
import { contentRange, requestedRange } from '../ranges.ts';
import { Refusal } from '../refusal.ts';
import { answered, bearer, clientOf, message, type Call, type HttpParts, type Route } from './call.ts';

/** What a server answers; docs/protocol.md. */
export const routes: readonly Route[] = [
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
