import type { Place } from '../../events.ts';
import type { Journal } from '../../journal.ts';
import type { TaskRow } from './store.ts';

/** What the journal says of a client's task. */
export function recordOf(
  journal: Pick<Journal, 'rounds' | 'clients'>,
  at: Place,
  { client, round }: TaskRow,
): 'accepted' | 'open' | { readonly reason: string } {
  const done = journal.rounds(at).find((record) => record.round === round);
  if (done?.participants.includes(client) === true) return 'accepted';
  const left = done?.leftOut.find((entry) => entry.client === client);
  if (left !== undefined) return { reason: left.reason };
  if (done !== undefined) return { reason: `round ${round + 1} of ${at.method} · ${at.stage} ended without it` };
  // A stage that sends nothing accepts each client by itself.
  const alone = journal.clients(at, round).find((record) => record.client === client);
  return alone !== undefined && alone.leftOut === undefined ? 'accepted' : 'open';
}

/** Why a task is not open any more. */
export function late(journal: Pick<Journal, 'rounds' | 'clients'>, row: TaskRow): string {
  if (row.place === undefined) return 'this evaluation is over';
  const record = row.kind === 'train' ? recordOf(journal, row.place, row) : 'open';
  if (typeof record === 'object') return record.reason;
  const what = row.kind === 'train' ? `round ${row.round + 1}` : 'the evaluation';
  return `${what} of ${row.place.method} · ${row.place.stage} no longer waits for this`;
}
