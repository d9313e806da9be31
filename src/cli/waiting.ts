import type { Waiting } from '../federation/http/server/desk.ts';

/** Clients that one line names. */
const NAMED = 8;

/** Whom a run waits for and since when, in one line; undefined where it waits for nobody. */
export function waitingLine(list: readonly Pick<Waiting, 'client' | 'since' | 'heard'>[]): string | undefined {
  // With its day: a run can wait for longer than one.
  const clock = (at: number): string => new Date(at).toISOString().slice(0, 19).replace('T', ' ');
  if (list.length === 0) return undefined;
  const some = list
    .slice(0, NAMED)
    .map(
      ({ client, since, heard }) =>
        `${client} since ${clock(since)} (${heard === undefined ? 'never heard from' : `last heard ${clock(heard)}`})`,
    );
  return `waiting for ${some.join(', ')}${list.length > some.length ? ` and ${list.length - some.length} more` : ''} · UTC`;
}
