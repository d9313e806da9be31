import { decodeChunks } from '../../../tensor/encode.ts';
import type { State } from '../../../tensor/state.ts';
import { readTensors } from '../../../formats/files/safetensors.ts';
import { filePieces } from '../payload-file.ts';
import { noTotals, type EvaluateMessage } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import { enforced, requireRoom } from './limits.ts';
import type { TakePart, TakingPart } from './take-part.ts';
import { beating, causeOf, isOwn, tellFailure } from './under-way.ts';

/** The model of an evaluation: factors, or with `personal` a stage's shared state. */
async function modelOf(
  { api, state, limits = {} }: TakePart,
  { model: blob, of }: EvaluateMessage,
): Promise<State | undefined> {
  if (blob === null) return undefined;
  requireRoom(limits, blob.size + (await state.held()));
  const path = await state.incoming(blob.digest);
  await api.downloadTo(path, blob);
  const read = of === 'personal' ? decodeChunks(filePieces(path), blob.size) : await readTensors(path);
  await state.forgetIncoming();
  return read;
}

/** Measures what the task asks for on own rows, and answers with sums. */
export async function* evaluated(part: TakePart, task: EvaluateMessage): AsyncGenerator<TakingPart, void> {
  const { api, state, worker } = part;
  const control = new AbortController();
  const signal = AbortSignal.any([part.signal, control.signal]);
  const limits = enforced(part.limits ?? {}, control);
  const heart = beating(part, task.id, () => noTotals, control);
  try {
    const model = await modelOf(part, task);
    const mine = task.place === null ? undefined : state.privateState(task.place);
    const sums = await worker.evaluate(task, model, mine, signal);
    limits.check();
    signal.throwIfAborted();
    limits.stop();
    if (sums !== null && !Number.isFinite(sums.nll)) throw new Error('the loss is not finite: the model has diverged');
    await api.answer(task.id, sums);
    yield { kind: 'sent', task, bytes: 0 };
  } catch (thrown) {
    part.signal.throwIfAborted();
    const error = causeOf(thrown, control);
    if (isOwn(error) || (error instanceof Refusal && error.status === 401)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    // Sums that the server will never take are a task that failed: nobody waits for them any longer.
    if (!(error instanceof Refusal) || error.status === 422) await tellFailure(part, task.id, reason);
    yield { kind: 'failed', task, reason };
  } finally {
    limits.stop();
    heart.stop();
  }
}
