import { noTotals, type SumMessage } from '../protocol.ts';
import { SUM_BYTES } from '../sum-protocol.ts';
import { Refusal } from '../refusal.ts';
import { digestOf } from './api.ts';
import type { TakePart, TakingPart } from './take-part.ts';
import { asked, beating, isOwn } from './under-way.ts';

/** A stage of a secure sum. What goes wrong in it means that this client has left it. */
export async function* contributed(
  part: Pick<TakePart, 'api' | 'beat' | 'signal' | 'sums'>,
  task: SumMessage,
): AsyncGenerator<TakingPart, void> {
  const { api, sums } = part;
  const heart = beating(part, task.id, () => noTotals, new AbortController());
  try {
    if (sums === undefined) throw new Error('this client was told that sums are not secure');
    if (task.message.size > SUM_BYTES) throw new Error(`a message of ${task.message.size} bytes is too large`);
    const { answer, upload } = await sums.answer(task, await api.download(task.message));
    if (upload !== undefined) await api.upload(digestOf(upload), upload);
    await api.contribute(task.id, answer);
    yield { kind: 'sent', task, bytes: upload?.length ?? 0 };
  } catch (error) {
    part.signal.throwIfAborted();
    if (isOwn(error) || (error instanceof Refusal && error.status === 401)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    // A repeated answer whose first arrived is refused too: then the server waits no longer, and this changes nothing.
    await asked(() => api.fail(task.id, reason.slice(0, 1000)));
    yield { kind: 'failed', task, reason };
  } finally {
    heart.stop();
  }
}
