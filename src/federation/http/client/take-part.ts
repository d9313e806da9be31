import { setTimeout } from 'node:timers/promises';
import type { Sums } from '../../../evaluate/sums.ts';
import type { Contribution } from '../../../methods/stage.ts';
import { readTensors } from '../../../formats/files/safetensors.ts';
import type { State } from '../../../tensor/state.ts';
import type { Tensor, Tensors } from '../../../tensor/tensor.ts';
import type { Progress } from '../../../train/kit.ts';
import { packedChunks, payloadChunks } from '../payload.ts';
import { noTotals, type EvaluateMessage, type TaskMessage, type TrainMessage } from '../protocol.ts';
import { NOT_READY, Refusal } from '../refusal.ts';
import type { Api } from './api.ts';
import { contributed } from './contributed.ts';
import { hashed } from './download.ts';
import { evaluated } from './evaluated.ts';
import { enforced, requireRoom, type Limits } from './limits.ts';
import type { Reach } from './reach.ts';
import type { ClientState, Undecided } from './state.ts';
import { told, type SumParty } from './sums.ts';
import { asked, beating, causeOf, isOwn, rests, tellFailure } from './under-way.ts';

/** What a client can do with its own data; the same work as in a simulation. */
export interface Worker {
  /** Whether nothing but updates may leave this client: no count, loss, time or reason (the guard `privacy`). */
  readonly silent?: boolean;
  /** Throws where the task is of a stage that is not known here. */
  train(
    task: TrainMessage,
    received: Tensors,
    mine: State | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Progress, Contribution<State>>;
  /** Sums over own rows; null where there is no personal model. `model`: factors, or a stage's shared state. */
  evaluate(
    task: EvaluateMessage,
    model: State | undefined,
    mine: State | undefined,
    signal: AbortSignal,
  ): Promise<Sums | null>;
}

export type TakingPart =
  | { readonly kind: 'task'; readonly task: TaskMessage }
  | { readonly kind: 'progress'; readonly task: TrainMessage; readonly progress: Progress }
  | { readonly kind: 'sent'; readonly task: TaskMessage; readonly bytes: number }
  | { readonly kind: 'failed'; readonly task: TaskMessage; readonly reason: string }
  | { readonly kind: 'accepted'; readonly work: Undecided }
  | { readonly kind: 'refused'; readonly work: Undecided; readonly reason: string }
  | { readonly kind: 'waiting'; readonly why: string }
  /** Once: tasks are asked for by polling, since there is no WebSocket. */
  | { readonly kind: 'polling'; readonly why: string };

export interface TakePart {
  readonly api: Api & Partial<Pick<Reach, 'polling'>>;
  readonly state: ClientState;
  readonly worker: Worker;
  readonly signal: AbortSignal;
  /** Seconds between two signs of life while working. */
  readonly beat: number;
  /** Of each task; one that reaches them is ended at its next step, and the server told why. Default: none. */
  readonly limits?: Limits;
  /** Says once more what this client has: a server that was set back to a backup does not know it any more. */
  readonly announce?: () => Promise<void>;
  /** Where sums are secure: no update, weight or total of a task leaves this client but in one. */
  readonly sums?: SumParty;
}

/**
 * Takes part in a run until it is over: fetches tasks, works, sends, and moves its private state when the server has counted the
 * work. Whatever an earlier process left open is asked for first, so nothing that was acknowledged is done twice.
 */
export async function* takePart(
  part: TakePart,
): AsyncGenerator<TakingPart, { readonly how: 'finished' | 'stopped'; readonly why: string }> {
  const { api, signal } = part;
  let why = '';
  let said = false;
  const rest = rests(part.beat);
  for (;;) {
    signal.throwIfAborted();
    yield* settle(part);
    const next = await nextOf(part);
    const polling = api.polling?.();
    if (polling !== undefined && !said) yield { kind: 'polling', why: polling };
    said ||= polling !== undefined;
    if (next.kind === 'over') {
      yield* settle(part);
      return { how: next.how, why: next.why };
    }
    if (next.kind === 'wait') {
      if (next.why !== why) yield { kind: 'waiting', why: next.why };
      why = next.why;
      continue;
    }
    why = '';
    yield* settle(part);
    // The server has lost what it had of this work, and was just given it again.
    if (part.state.undecided().some(({ id }) => id === next.task.id)) continue;
    const { id } = next.task;
    const pause = rest.before(id);
    if (pause > 0) await setTimeout(pause * 1000, undefined, { signal });
    yield { kind: 'task', task: next.task };
    for await (const told of worked(part, next.task)) {
      if (told.kind === 'failed') rest.failed(id);
      yield told;
    }
  }
}

async function nextOf({ api, announce }: TakePart): ReturnType<Api['next']> {
  try {
    return await api.next(20);
  } catch (error) {
    if (announce === undefined || !(error instanceof Refusal) || error.code !== NOT_READY) throw error;
    await announce();
    return api.next(20);
  }
}

function worked(part: TakePart, task: TaskMessage): AsyncGenerator<TakingPart, void> {
  if (task.kind === 'train') return trained(part, task);
  return task.kind === 'sum' ? contributed(part, task) : evaluated(part, task);
}

/** Asks what became of finished work, and delivers what has not arrived. */
async function* settle(part: TakePart): AsyncGenerator<TakingPart, void> {
  const { api, state } = part;
  for (const work of state.undecided()) {
    let { outcome, reason = '' } = await asked(() => api.outcome(work.id));
    if (outcome === 'open') ({ outcome, reason = '' } = await asked(() => delivered(part, work)));
    if (outcome === 'accepted') {
      await state.accept(work);
      yield { kind: 'accepted', work };
    } else if (outcome === 'refused') {
      await state.drop(work);
      yield { kind: 'refused', work, reason };
    }
  }
}

async function deliver({ api, state }: TakePart, work: Undecided): ReturnType<Api['submit']> {
  const { digest } = work.message;
  if (digest !== null) {
    const payload = await state.payload(work);
    if (payload === undefined) return api.fail(work.id, 'the finished update was lost at the client');
    await api.upload(digest, payload);
  }
  return api.submit(work.id, work.message);
}

/** An update that the server will never take is a task that failed: nobody waits for it any longer. */
async function delivered(part: TakePart, work: Undecided): ReturnType<Api['submit']> {
  try {
    return await deliver(part, work);
  } catch (error) {
    if (!(error instanceof Refusal) || ![413, 422].includes(error.status)) throw error;
    return part.api.fail(work.id, `the server refused its update: ${error.message}`.slice(0, 1000));
  }
}

async function* trained(part: TakePart, task: TrainMessage): AsyncGenerator<TakingPart, void> {
  const { state, worker } = part;
  const control = new AbortController();
  const signal = AbortSignal.any([part.signal, control.signal]);
  const limits = enforced(part.limits ?? {}, control);
  let totals = noTotals;
  const heart = beating(part, task.id, () => (part.sums === undefined ? totals : noTotals), control);
  try {
    const received = await fetched(part, task);
    const work = worker.train(task, received, state.privateState(task.place), signal);
    let seconds = 0;
    for (;;) {
      const from = performance.now();
      const next = await work.next();
      seconds += (performance.now() - from) / 1000;
      limits.check();
      signal.throwIfAborted();
      if (!next.done) {
        const { step, steps, loss, tokens, processed } = next.value;
        totals = {
          step,
          steps,
          tokens: totals.tokens + tokens,
          processed: totals.processed + processed,
          lossSum: totals.lossSum + loss * tokens,
        };
        yield { kind: 'progress', task, progress: next.value };
        continue;
      }
      limits.stop();
      const { update, pack, weight, mine, noise } = next.value;
      const packed = pack?.();
      const payload = (): Iterable<Uint8Array> => (packed ? packedChunks(packed) : payloadChunks(update));
      const file = update.size === 0 ? undefined : await hashed(payload());
      const digest = file?.digest ?? null;
      const done: Undecided = {
        id: task.id,
        place: task.place,
        round: task.round,
        ...told(part.sums, update, { digest, weight, seconds: worker.silent === true ? 0 : seconds, totals }, noise),
      };
      await state.keep(done, file && payload(), mine);
      const { outcome } = await delivered(part, done);
      if (outcome === 'received')
        yield { kind: 'sent', task, bytes: done.message.digest === null ? 0 : (file?.size ?? 0) };
      return;
    }
  } catch (thrown) {
    part.signal.throwIfAborted();
    const error = causeOf(thrown, control);
    const reason = error instanceof Error ? error.message : String(error);
    // What was kept is settled with its outcome, before the next task.
    if (error instanceof Refusal) {
      if (error.status === 401) throw error;
      yield { kind: 'failed', task, reason };
      return;
    }
    if (isOwn(error)) throw error;
    await tellFailure(part, task.id, reason);
    yield { kind: 'failed', task, reason };
  } finally {
    limits.stop();
    heart.stop();
  }
}

/** What the task is sent: the pieces that are kept, then the round's own, in the server's order. */
async function fetched({ api, state, limits = {} }: TakePart, { frozen, sent }: TrainMessage): Promise<Tensors> {
  const kept = new Map(frozen.map(({ digest, size }) => [digest, size]));
  const digests = new Set(kept.keys());
  await state.forgetOthers(digests);
  const pieces = [...kept.values()].reduce((sum, size) => sum + size, 0);
  requireRoom(limits, pieces + (sent?.size ?? 0) + (await state.held(digests)));
  const received = new Map<string, Tensor>();
  const add = async (path: string): Promise<void> => {
    for (const [name, tensor] of await readTensors(path)) received.set(name, tensor);
  };
  for (const blob of frozen) {
    const path = state.frozenAt(blob.digest);
    await api.downloadTo(path, blob);
    await add(path);
  }
  if (sent !== null) {
    const path = await state.incoming(sent.digest);
    await api.downloadTo(path, sent);
    await add(path);
    await state.forgetIncoming();
  }
  return received;
}
