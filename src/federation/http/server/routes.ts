import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import {
  descriptionSchema,
  digestSchema,
  emptySchema,
  failureSchema,
  healthSchema,
  joinedSchema,
  joinSchema,
  LONGEST_WAIT,
  nextSchema,
  outcomeSchema,
  readinessSchema,
  readyRequestSchema,
  selfSchema,
  SOCKET_PATH,
  sumsAnswerSchema,
  taskIdSchema,
  totalsSchema,
  updateSchema,
  uploadSchema,
  waitSchema,
} from '../protocol.ts';
import { contentRange, requestedRange } from '../ranges.ts';
import { Refusal } from '../refusal.ts';
import { sumAnswerSchema } from '../sum-protocol.ts';
import { answered, route, type Call, type HttpParts, type Route } from './call.ts';

/** What a server answers; docs/protocol.md. */
export const routes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/health',
    about: { summary: 'Whether the server is there.', who: 'anyone', answer: healthSchema },
    run: async () => ({ ok: true }),
  },
  {
    method: 'GET',
    path: '/v1/readiness',
    about: { summary: 'Whether the run takes part; 503 once it is over.', who: 'anyone', answer: readinessSchema },
    run: async (_, { service }) => {
      const over = service.over();
      if (over !== undefined) throw new Refusal(503, 'over', `the run is over: ${over.why}`);
      return { ready: true };
    },
  },
  {
    method: 'GET',
    path: '/v1/run',
    about: { summary: 'What anybody may know of the run.', who: 'anyone', answer: descriptionSchema },
    run: async (_, { service }) => descriptionSchema.parse(service.description),
  },
  route({
    method: 'POST',
    path: '/v1/join',
    about: {
      summary: 'Exchanges an enrolment token for a key that the client has made. Repeated, it is the same request.',
      who: 'enrolment',
      body: joinSchema,
      answer: joinedSchema,
    },
    run: ({ message, who }, { service }) => service.join(message, who),
  }),
  {
    method: 'GET',
    path: '/v1/self',
    about: {
      summary: 'What only this client is told: its name, its ranks, and what is here of it.',
      who: 'client',
      answer: selfSchema,
    },
    run: async ({ who }, { self }) => self(who),
  },
  route({
    method: 'POST',
    path: '/v1/ready',
    about: {
      summary: "The client's counts of rows and tokens; other counts than before are refused.",
      who: 'client',
      body: readyRequestSchema,
      answer: emptySchema,
    },
    run: async ({ who, message }, { service }) => {
      service.ready(who, message.data, message.code);
      return {};
    },
  }),
  {
    method: 'GET',
    path: '/v1/next',
    about: {
      summary: 'The next task, waited for at most so long.',
      who: 'client',
      query: { wait: { schema: waitSchema.default(0), about: 'Seconds.' } },
      answer: nextSchema,
    },
    run: async (call, { service }) => {
      const wait = waitSchema.safeParse(Number(call.url.searchParams.get('wait') ?? '0'));
      if (!wait.success) throw new Refusal(400, 'wait', `\`wait\` is a number of seconds from 0 to ${LONGEST_WAIT}`);
      return service.next(call.who, wait.data, call.signal);
    },
  },
  {
    method: 'GET',
    path: SOCKET_PATH,
    about: {
      summary: 'The same without polling, and signs of life, over a WebSocket; docs/protocol.md.',
      who: 'client',
      answer: 'websocket',
    },
    run: async ({ request, response, who, upgrade }, { sockets }) => {
      if (upgrade === undefined || request.headers.upgrade?.toLowerCase() !== 'websocket') {
        response.setHeader('upgrade', 'websocket');
        throw new Refusal(426, 'upgrade', 'this path is for WebSockets: ask for an upgrade, or poll /v1/next');
      }
      // The request ends here, for whoever counts those that are open; the connection goes on.
      response.detachSocket(upgrade.socket);
      response.emit('close');
      sockets.take(request, who, upgrade);
      return answered;
    },
  },
  route({
    method: 'POST',
    path: '/v1/tasks/{id}/progress',
    about: {
      summary: 'A sign of life: step and totals so far.',
      who: 'client',
      body: totalsSchema,
      answer: emptySchema,
    },
    run: async (call, { service }) => {
      service.progress(call.who, taskId(call), call.message);
      return {};
    },
  }),
  route({
    method: 'POST',
    path: '/v1/tasks/{id}/update',
    about: {
      summary: 'The update, whose tensors were uploaded before. Durable once it is answered.',
      who: 'client',
      body: updateSchema,
      answer: outcomeSchema,
    },
    run: async (call, { service }) => service.submit(call.who, taskId(call), call.message),
  }),
  route({
    method: 'POST',
    path: '/v1/tasks/{id}/sums',
    about: {
      summary: "An evaluation's sums over the client's rows.",
      who: 'client',
      body: sumsAnswerSchema,
      answer: outcomeSchema,
    },
    run: async (call, { service }) => service.answer(call.who, taskId(call), call.message),
  }),
  route({
    method: 'POST',
    path: '/v1/tasks/{id}/secure',
    about: {
      summary: "A client's answer in a stage of a secure sum; a masked vector is uploaded before.",
      who: 'client',
      body: sumAnswerSchema,
      answer: outcomeSchema,
    },
    run: async (call, { service }) => service.contribute(call.who, taskId(call), call.message),
  }),
  route({
    method: 'POST',
    path: '/v1/tasks/{id}/failure',
    about: { summary: 'Why there will be no update.', who: 'client', body: failureSchema, answer: outcomeSchema },
    run: async (call, { service }) => service.fail(call.who, taskId(call), call.message.reason),
  }),
  {
    method: 'GET',
    path: '/v1/tasks/{id}/outcome',
    about: { summary: 'What became of a task.', who: 'client', answer: outcomeSchema },
    run: async (call, { service }) => service.outcome(call.who, taskId(call)),
  },
  route({
    method: 'POST',
    path: '/v1/leave',
    about: {
      summary:
        'Ends the part of the client for good: its key, counts, tasks, uploads and updates that no round has counted yet.',
      who: 'client',
      body: emptySchema,
      answer: emptySchema,
    },
    run: async ({ who }, { service }) => {
      await service.leave(who);
      return {};
    },
  }),
  {
    method: 'GET',
    path: '/v1/uploads/{digest}',
    about: { summary: 'How much of an upload is there.', who: 'client', answer: uploadSchema },
    run: async (call, { uploads }) => uploads.state(call.who, digestIn(call)),
  },
  {
    method: 'PUT',
    path: '/v1/uploads/{digest}',
    about: {
      summary: 'A piece of an upload, behind what is there.',
      who: 'client',
      body: 'bytes',
      answer: uploadSchema,
    },
    run: upload,
  },
  {
    method: 'GET',
    path: '/v1/blobs/{digest}',
    about: {
      summary: 'A payload of an open task of this client; with `Range` a part of it.',
      who: 'client',
      answer: 'bytes',
    },
    run: download,
  },
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
  const { request, who: client } = call;
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
  const { request, response, who: client } = call;
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
