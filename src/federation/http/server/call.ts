import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { z } from 'zod';
import { MESSAGE_BYTES, type Self } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import type { Blobs } from './blobs.ts';
import type { Keys } from './keys.ts';
import type { Monitor } from './monitor.ts';
import type { Operation } from './operation.ts';
import type { Operators } from './operators.ts';
import type { Service } from './service.ts';
import type { Sockets } from './sockets.ts';
import type { Role } from './store.ts';
import type { Traffic } from './traffic.ts';
import type { Uploads } from './uploads.ts';

/** What answers for one run. */
export interface HttpParts {
  readonly service: Service;
  readonly keys: Keys;
  readonly blobs: Blobs;
  readonly uploads: Uploads;
  readonly sockets: Sockets;
  readonly operators: Operators;
  readonly operation: Operation;
  readonly monitor: Monitor;
  /** Bytes of the server's connections, where it has no other run. */
  readonly traffic?: () => Traffic;
  /** Whether anybody may read the metrics. */
  readonly openMetrics: boolean;
  /** What a client is told of itself. */
  readonly self: (client: string) => Self;
}

export interface Call<Message = unknown> {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  /** The last variable part of the path. */
  readonly name: string;
  /** Who asks, as `about.who` demands: the client's name, the enrolment token, the operator's role; empty for anyone. */
  readonly who: string;
  /** What was sent, checked by `about.body`. */
  readonly message: Message;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
  /** The connection, of a request to upgrade it. */
  readonly upgrade?: Upgrade;
}

export interface Upgrade {
  readonly socket: Socket;
  /** What came behind the request already. */
  readonly head: Buffer;
  /** Counts one more message of this client: seconds by which it is too fast. */
  readonly delay: () => number;
  /** Told of errors that are the server's own. */
  readonly onError: (error: unknown) => void;
}

/** What docs/openapi.json says of a route, and what is true of a call before the route sees it. */
export interface About<Body extends Sent = Sent> {
  readonly summary: string;
  /** Whose key or token it takes: `enrolment` is the token that is valid once. */
  readonly who: 'anyone' | 'enrolment' | 'client' | Role;
  /** Where it is so, anyone may ask. */
  readonly open?: (parts: HttpParts) => boolean;
  readonly query?: Readonly<Record<string, { readonly schema: z.ZodType; readonly about: string }>>;
  /** What is sent: a message, or bytes with a `Content-Range`, which the route reads itself. */
  readonly body?: Body;
  readonly answer: z.ZodType | 'bytes' | 'text/plain' | 'websocket';
}

/** What a request can bring. */
export type Sent = z.ZodType | 'bytes';

/** @typeParam Parts what it is a route of: a run, or a whole server */
export interface Route<Body extends Sent = Sent, Parts = HttpParts> {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** With at most one variable part, e.g. `/v1/tasks/{id}/outcome`. */
  readonly path: string;
  readonly about: About<Body>;
  run(call: Call<Body extends z.ZodType ? z.output<Body> : undefined>, parts: Parts): Promise<unknown>;
}

/** A route whose `run` knows the type of what is sent. */
export const route = <Body extends Sent>(one: Route<Body>): Route => one;

/** Answered by the handler itself. */
export const answered = Symbol('answered');

export const bearer = ({ headers }: IncomingMessage): string => {
  const match = /^Bearer ([A-Za-z0-9_-]{1,200})$/.exec(headers.authorization ?? '');
  if (match === null) throw new Refusal(401, 'authorization', 'send `Authorization: Bearer …` with your key or token');
  return match[1]!;
};

/** Who asks, where it is one of those who may. Refuses everybody else. */
export function asker(request: IncomingMessage, { who, open }: About, parts: HttpParts): string {
  if (who === 'anyone' || open?.(parts) === true) return '';
  const secret = bearer(request);
  if (who === 'enrolment') return secret;
  return who === 'client' ? parts.keys.who(secret) : parts.operators.require(secret, who);
}

/** The request's JSON, checked strictly. */
export async function message<T>(request: IncomingMessage, schema: z.ZodType<T>): Promise<T> {
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
