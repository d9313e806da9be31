import type { Waiting } from '../federation/http/server/desk.ts';
import { moment } from '../report/format.ts';

/** Clients that one line names. */
const NAMED = 8;

/** Whom a run waits for and since when, with the day, in one line; undefined where it waits for nobody. */
export function waitingLine(list: readonly Pick<Waiting, 'client' | 'since' | 'heard'>[]): string | undefined {
  if (list.length === 0) return undefined;
  const some = list
    .slice(0, NAMED)
    .map(
      ({ client, since, heard }) =>
        `${client} since ${moment(since)} (${heard === undefined ? 'never heard from' : `last heard ${moment(heard)}`})`,
    );
  return `waiting for ${some.join(', ')}${list.length > some.length ? ` and ${list.length - some.length} more` : ''} · UTC`;
}
