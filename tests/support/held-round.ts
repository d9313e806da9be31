import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf, type Api } from '../../src/federation/http/client/api.ts';
import { fromPayload, toPayload } from '../../src/federation/http/payload.ts';
import type { TrainMessage, UpdateMessage } from '../../src/federation/http/protocol.ts';
import { Refusal } from '../../src/federation/http/refusal.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { collect } from './collect.ts';
import { rounds, trainingTask, type federationTools, type Served } from './served.ts';

// What tests share of requests that a server refuses, and of what they must not change.

export const zero = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };
export const message = (digest: string | null, more: Partial<UpdateMessage> = {}): UpdateMessage => ({
  digest,
  weight: 3,
  seconds: 1,
  totals: zero,
  ...more,
});

/** A server whose first round waits for everybody; ann has fetched her task. */
export interface HeldRound extends Served {
  readonly folder: string;
  readonly ann: { readonly api: Api; readonly key: string };
  readonly ben: { readonly api: Api; readonly key: string };
  readonly task: TrainMessage;
  readonly sent: Tensors;
  stop(): Promise<void>;
}

export async function heldRound(tools: ReturnType<typeof federationTools>): Promise<HeldRound> {
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const ann = await tools.joined(served.server, 'ann');
  const ben = await tools.joined(served.server, 'ben');
  const control = new AbortController();
  const running = collect(rounds(served, { signal: control.signal })).catch((error: unknown) => error);
  const task = await trainingTask(ann.api);
  const sent = fromPayload(await ann.api.download(task.sent!), 'sent');
  const stop = async (): Promise<void> => {
    control.abort();
    await running;
  };
  return { ...served, folder, ann, ben, task, sent, stop };
}

/** Everything that a refused request could have changed. */
export function traces({ server, journal, folder, task }: HeldRound): unknown {
  const at = { ...task.place };
  return {
    result: server.store.task(task.id)?.result ?? null,
    received: server.store.auditLines().filter(({ what }) => what === 'received'),
    open: server.desk.waiting().map(({ client, task: { id } }) => [client, id]),
    payloads: readdirSync(join(folder, 'server', 'payloads')).sort(),
    rounds: journal.rounds(at),
  };
}

/** The refusal that this is answered with. */
export async function refused(asked: Promise<unknown>): Promise<Pick<Refusal, 'status' | 'code' | 'message'>> {
  try {
    await asked;
  } catch (error) {
    if (error instanceof Refusal) return { status: error.status, code: error.code, message: error.message };
    throw error;
  }
  throw new Error('this was not refused');
}

/** Sends these tensors as ann's update. */
export async function send(
  { ann, task }: HeldRound,
  tensors: Tensors,
  more: Partial<UpdateMessage> = {},
): Promise<unknown> {
  const bytes = toPayload(tensors);
  await ann.api.upload(digestOf(bytes), bytes);
  return ann.api.submit(task.id, message(digestOf(bytes), more));
}

export const raw = (at: HeldRound, path: string, options: RequestInit, key: string = at.ann.key): Promise<Response> =>
  fetch(`${at.server.url}/v1/${path}`, {
    ...options,
    headers: { authorization: `Bearer ${key}`, ...(options.headers as Record<string, string>) },
  });
