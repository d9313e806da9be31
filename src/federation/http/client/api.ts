import { createHash } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { z } from 'zod';
import type { Sums } from '../../../evaluate/sums.ts';
import {
  descriptionSchema,
  emptySchema,
  errorSchema,
  joinedSchema,
  type joinSchema,
  nextSchema,
  outcomeSchema,
  selfSchema,
  UPLOAD_PIECE,
  uploadSchema,
  type BlobRef,
  type DataCounts,
  type Description,
  type Next,
  type OutcomeMessage,
  type Self,
  type Totals,
  type UpdateMessage,
} from '../protocol.ts';
import type { PayloadFile } from '../payload-file.ts';
import { Refusal } from '../refusal.ts';
import type { SumAnswer } from '../sum-protocol.ts';
import { timeoutSignal } from '../../timeout-signal.ts';
import { isConnection, jsonOf, reasonOf } from './answer.ts';
import { requireTrusted, type Fetch } from './pinned.ts';
import { openPart, wholeFile } from './download.ts';
import { sendMissing } from './upload.ts';

/** The server could not be reached for as long as the client has patience. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

export interface ApiOptions {
  readonly url: string;
  /** The client's key; not needed to read the description and to join. */
  readonly key?: string;
  /** Seconds for which failing connections are tried again, with growing pauses. */
  readonly patience: number;
  readonly signal: AbortSignal;
  /** Seconds for one request; default 120. */
  readonly limit?: number;
  /** What carries requests where it is not `fetch`. */
  readonly fetch?: Fetch;
  /** Told why the server does not answer, once until it does again. */
  readonly trouble?: (why: string) => void;
}

/** A server's questions and answers. Lost connections, overload and a server being started anew are waited out. */
export interface Api {
  describe(): Promise<Description>;
  join(request: z.input<typeof joinSchema>, token: string): Promise<string>;
  /** What the server tells this client of itself. */
  self(): Promise<Self>;
  /** null where counts stay with the client. `code`: what it is computed by. */
  ready(data: DataCounts | null, code?: string): Promise<void>;
  next(wait: number): Promise<Next>;
  progress(id: string, totals: Totals): Promise<void>;
  submit(id: string, update: UpdateMessage): Promise<OutcomeMessage>;
  answer(id: string, sums: Sums | null): Promise<OutcomeMessage>;
  /** An answer in a stage of a secure sum. */
  contribute(id: string, answer: SumAnswer): Promise<OutcomeMessage>;
  fail(id: string, reason: string): Promise<OutcomeMessage>;
  outcome(id: string): Promise<OutcomeMessage>;
  /** Ends this client's part for good. */
  leave(): Promise<void>;
  /** Sends what the server does not have yet of a payload; throws `Refusal` where that comes to no end. */
  upload(digest: string, payload: PayloadFile | Uint8Array): Promise<void>;
  /** A small payload, checked against its name. */
  download(blob: BlobRef): Promise<Uint8Array>;
  /** A payload into a file, checked against its name; goes on where a connection was cut, or an earlier process killed. */
  downloadTo(path: string, blob: BlobRef): Promise<void>;
}

interface Asked {
  readonly method: 'GET' | 'POST' | 'PUT';
  readonly path: string;
  readonly json?: unknown;
  readonly bytes?: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  readonly token?: string;
}

export const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export function openApi({ url, key, patience, signal, limit = 120, fetch: carry = fetch, trouble }: ApiOptions): Api {
  const base = url.replace(/\/+$/, '');
  let troubled = false;

  async function once({ method, path, json, bytes, headers, token }: Asked): Promise<Response> {
    const secret = token ?? key;
    const body = json === undefined ? bytes : JSON.stringify(json);
    const response = await carry(`${base}/v1/${path}`, {
      method,
      headers: {
        ...(secret !== undefined && { authorization: `Bearer ${secret}` }),
        ...(json !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: body as BodyInit }),
      redirect: 'error',
      signal: AbortSignal.any([signal, timeoutSignal(limit * 1000)]),
    });
    if (response.ok) return response;
    const said = errorSchema.safeParse(await jsonOf(response, `the answer to ${path}`));
    const { code, message } = said.success
      ? said.data.error
      : { code: 'unknown', message: `the server answered ${response.status}` };
    throw new Refusal(response.status, code, message, said.success ? said.data.received : undefined);
  }

  /** Tries until there is an answer that will not change. */
  async function patiently<T>(attempt: () => Promise<T>): Promise<T> {
    const began = performance.now();
    for (let pause = 0.2; ; pause = Math.min(2 * pause, 15)) {
      try {
        const answer = await attempt();
        troubled = false;
        return answer;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof Refusal && error.status !== 429 && error.status < 500) throw error;
        if (!(error instanceof Refusal) && !isConnection(error)) throw error;
        requireTrusted(error, base);
        const why = error instanceof Refusal ? error.message : reasonOf(error);
        if ((performance.now() - began) / 1000 + pause > patience) {
          throw new Unreachable(`${base} did not answer for ${patience} s: ${why}`, { cause: error });
        }
        if (!troubled) trouble?.(why);
        troubled = true;
        // Many clients that lost one server come back at different times.
        await setTimeout(pause * (500 + 1000 * Math.random()), undefined, { signal });
      }
    }
  }

  async function answerOf<T>(response: Response, path: string, schema: z.ZodType<T>): Promise<T> {
    const parsed = schema.safeParse(await jsonOf(response, `the answer to ${path}`));
    if (parsed.success) return parsed.data;
    throw new Refusal(
      0,
      'answer',
      `${base} answers ${path} with something else than this protocol's: is it a fedlora server?`,
    );
  }

  const ask = <T>(asked: Asked, schema: z.ZodType<T>): Promise<T> =>
    patiently(async () => answerOf(await once(asked), asked.path, schema));

  return {
    describe: () => ask({ method: 'GET', path: 'run' }, descriptionSchema),
    join: async (request, token) =>
      (await ask({ method: 'POST', path: 'join', json: request, token }, joinedSchema)).client,
    self: () => ask({ method: 'GET', path: 'self' }, selfSchema),
    ready: async (data, code) => void (await ask({ method: 'POST', path: 'ready', json: { data, code } }, emptySchema)),
    next: (wait) => ask({ method: 'GET', path: `next?wait=${wait}` }, nextSchema),
    progress: async (id, totals) =>
      void (await ask({ method: 'POST', path: `tasks/${id}/progress`, json: totals }, emptySchema)),
    submit: (id, update) => ask({ method: 'POST', path: `tasks/${id}/update`, json: update }, outcomeSchema),
    answer: (id, sums) => ask({ method: 'POST', path: `tasks/${id}/sums`, json: { sums } }, outcomeSchema),
    contribute: (id, answer) => ask({ method: 'POST', path: `tasks/${id}/secure`, json: answer }, outcomeSchema),
    fail: (id, reason) => ask({ method: 'POST', path: `tasks/${id}/failure`, json: { reason } }, outcomeSchema),
    leave: async () => void (await ask({ method: 'POST', path: 'leave', json: {} }, emptySchema)),
    outcome: (id) => ask({ method: 'GET', path: `tasks/${id}/outcome` }, outcomeSchema),
    upload: (digest, payload) => {
      const path = `uploads/${digest}`;
      return sendMissing(digest, payload, {
        has: () => ask({ method: 'GET', path }, uploadSchema),
        put: async (bytes, range) =>
          answerOf(await once({ method: 'PUT', path, bytes, headers: { 'content-range': range } }), path, uploadSchema),
        patiently,
      });
    },
    download: (blob) =>
      patiently(async () => {
        const response = await once({ method: 'GET', path: `blobs/${blob.digest}` });
        const bytes = new Uint8Array(blob.size);
        let have = 0;
        for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
          if (have + chunk.length > blob.size)
            throw new Refusal(0, 'size', `payload ${blob.digest} is longer than the server said`);
          bytes.set(chunk, have);
          have += chunk.length;
        }
        if (digestOf(bytes) !== blob.digest) throw new TypeError(`payload ${blob.digest} came with other bytes`);
        return bytes;
      }),
    async downloadTo(path, blob) {
      if ((await wholeFile(path, blob.digest)) !== undefined) return;
      for (let tries = 0; tries < 3; tries++) {
        const part = await openPart(path, blob);
        try {
          // In pieces, each with its own limit and patience: a large payload may take its time.
          while (part.have() < blob.size)
            await patiently(async () => {
              const range = `bytes=${part.have()}-${Math.min(part.have() + UPLOAD_PIECE, blob.size) - 1}`;
              await part.take(await once({ method: 'GET', path: `blobs/${blob.digest}`, headers: { range } }));
            });
          if (await part.finish()) return;
        } finally {
          await part.close();
        }
      }
      throw new Error(`payload ${blob.digest} came three times with other bytes`);
    },
  };
}
