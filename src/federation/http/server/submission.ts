import type { Journal } from '../../journal.ts';
import type { OutcomeMessage, UpdateMessage } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import type { Blobs } from './blobs.ts';
import { checkUpdate, requireWeight } from './check-update.ts';
import type { ClientTasks } from './client-tasks.ts';
import type { Desk, Offer } from './desk.ts';
import type { Monitor } from './monitor.ts';
import type { Store } from './store.ts';
import { adopted } from './sums.ts';
import { late } from './task-record.ts';
import type { Uploads } from './uploads.ts';

/** How updates are taken in: looked through first, then kept for good, and only then acknowledged. Throws `Refusal`. */
export function submission({
  store,
  desk,
  blobs,
  uploads,
  monitor,
  journal,
  tasks,
  alone,
  received,
}: {
  readonly store: Store;
  readonly desk: Desk;
  readonly blobs: Blobs;
  readonly uploads: Uploads;
  readonly monitor: Monitor;
  readonly journal: Pick<Journal, 'rounds' | 'clients'>;
  readonly tasks: ClientTasks;
  /** For what reads an upload into memory as a whole. */
  readonly alone: <T>(body: () => Promise<T>) => Promise<T>;
  /** Told of each update that is new. */
  readonly received: (client: string, id: string) => void;
}): (client: string, id: string, message: UpdateMessage) => Promise<OutcomeMessage> {
  async function submitted(client: string, id: string, message: UpdateMessage): Promise<OutcomeMessage> {
    const row = tasks.own(client, id);
    if (row.kind !== 'train') throw new Refusal(409, 'kind', 'this task asks for sums, not for an update');
    if (row.result !== undefined) {
      if ((row.result as UpdateMessage).digest === message.digest) return tasks.outcome(row);
      throw new Refusal(409, 'other-update', 'another update for this task was received before');
    }
    const offer = tasks.open(row);
    if (offer.expected.size === 0 || offer.kept === true) {
      if (message.digest !== null)
        throw new Refusal(422, 'nothing-sent', 'this task sends no tensors: `digest` must be null');
      if ((message.weight === null) !== (offer.kept === true))
        throw new Refusal(422, 'weight', '`weight` is null where it goes into a secure sum, and only there');
    } else {
      await checked(client, message, offer);
    }
    const { digest } = message;
    if (digest !== null) {
      const file = await uploads.file(client, digest);
      if (file === undefined) throw new Refusal(409, 'not-uploaded', 'upload these tensors first');
      await adopted(blobs, digest, file);
    }
    try {
      // While it was looked through its round may have ended, or its client's part in it.
      if (store.revoked(client) !== undefined) throw new Refusal(409, 'late', late(journal, row));
      tasks.open(row);
      // Durable before it is acknowledged, and before the round engine sees it.
      store.finish(id, message, digest ?? undefined);
    } catch (error) {
      if (digest !== null) await blobs.release(digest);
      throw error;
    }
    desk.finished(id, { result: message, digest: digest ?? undefined });
    received(client, id);
    return { outcome: 'received' };
  }

  async function checked(client: string, { digest, weight }: UpdateMessage, offer: Offer): Promise<void> {
    if (digest === null)
      throw new Refusal(422, 'no-tensors', 'this task sends tensors: upload them and name their digest');
    const file = await uploads.file(client, digest);
    if (file === undefined) throw new Refusal(409, 'not-uploaded', 'upload these tensors first');
    requireWeight(weight, store.client(client)?.data);
    const check = () => checkUpdate(file, offer);
    await (offer.packing === undefined ? check() : alone(check));
  }

  return async (client, id, message) => {
    try {
      const outcome = await submitted(client, id, message);
      monitor.update('received');
      return outcome;
    } catch (error) {
      if (error instanceof Refusal) monitor.update(error.code);
      throw error;
    }
  };
}
