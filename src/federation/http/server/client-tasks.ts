import type { Journal } from '../../journal.ts';
import type { OutcomeMessage, Over } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import type { Desk, Offer } from './desk.ts';
import { closed, outcomeAs, recordOf } from './task-record.ts';
import type { TaskRow, TaskRows } from './task-rows.ts';

/** Tasks as their clients may see them: each its own, and no other. */
export interface ClientTasks {
  /** Throws `Refusal` where the client has no such task. */
  own(client: string, id: string): TaskRow;
  /** What is waited for. Throws `Refusal` where nothing is any more, or yet. */
  open(row: TaskRow): Offer;
  /** The same by a task's name, also for stages of a secure sum, which are in no record. */
  opened(client: string, id: string): Offer;
  outcome(row: TaskRow): OutcomeMessage;
}

/** @param over how the run ended, once it has */
export function clientTasks({
  store,
  desk,
  journal,
  over,
}: {
  readonly store: Pick<TaskRows, 'task'>;
  readonly desk: Pick<Desk, 'open' | 'reached'>;
  readonly journal: Pick<Journal, 'rounds' | 'clients'>;
  readonly over: () => Over | undefined;
}): ClientTasks {
  function own(client: string, id: string): TaskRow {
    const row = store.task(id);
    // Another client's task and none at all look the same.
    if (row === undefined || row.client !== client) throw new Refusal(404, 'task', 'you have no such task in this run');
    return row;
  }

  function open(row: TaskRow): Offer {
    const offer = desk.open(row.id);
    if (offer === undefined) throw refusal(row);
    return offer;
  }

  const refusal = (row: TaskRow): Refusal => closed(journal, row, { reached: desk.reached(row.id), over: over() });

  function opened(client: string, id: string): Offer {
    const offer = desk.open(id);
    return offer?.sum !== undefined && offer.client === client ? offer : open(own(client, id));
  }

  function outcome(row: TaskRow): OutcomeMessage {
    const answered = row.result !== undefined;
    if (row.kind === 'evaluate' || row.place === undefined) {
      return answered ? { outcome: 'accepted' } : stillOpen(row);
    }
    const record = recordOf(journal, row.place, row);
    if (record === 'accepted' && answered) return { outcome: 'accepted' };
    if (typeof record === 'object') return { outcome: 'refused', reason: record.reason };
    return answered ? { outcome: 'received' } : stillOpen(row);
  }

  const stillOpen = (row: TaskRow): OutcomeMessage =>
    desk.open(row.id) === undefined ? outcomeAs(refusal(row)) : { outcome: 'open' };

  return { own, open, opened, outcome };
}
