import type { Place } from '../../events.ts';
import type { Journal } from '../../journal.ts';
import type { OutcomeMessage, Over } from '../protocol.ts';
import { Refusal, TOO_EARLY } from '../refusal.ts';
import type { TaskRow } from './task-rows.ts';

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

/**
 * Why a task is not open: it is too late, or what was done for it may still count, in a round that has no record yet: where a server
 * was started again and has not come to it (not `reached` since), or where the run has `stopped` and may go on.
 */
export function closed(
  journal: Pick<Journal, 'rounds' | 'clients'>,
  row: TaskRow,
  { reached, over }: { readonly reached: boolean; readonly over: Over | undefined },
): Refusal {
  const { kind, place, result } = row;
  const stopped = over?.how === 'stopped';
  const waits = kind === 'train' && place !== undefined && result === undefined && (over ? stopped : !reached);
  if (!waits || recordOf(journal, place, row) !== 'open') return new Refusal(409, 'late', late(journal, row));
  return new Refusal(
    TOO_EARLY,
    'early',
    stopped
      ? 'the run has stopped before this round ended: keep what you have, it counts if the run goes on'
      : 'this server has not come to your task yet: keep what you have, and ask again',
  );
}

/** What a closed task's outcome is. Throws the refusal where that is not known yet. */
export function outcomeAs(refusal: Refusal): OutcomeMessage {
  if (refusal.status === TOO_EARLY) throw refusal;
  return { outcome: 'refused', reason: refusal.message };
}

/** Why a task is not open any more. */
export function late(journal: Pick<Journal, 'rounds' | 'clients'>, row: TaskRow): string {
  if (row.place === undefined) return 'this evaluation is over';
  const record = row.kind === 'train' ? recordOf(journal, row.place, row) : 'open';
  if (typeof record === 'object') return record.reason;
  const what = row.kind === 'train' ? `round ${row.round + 1}` : 'the evaluation';
  return `${what} of ${row.place.method} · ${row.place.stage} no longer waits for this`;
}
