import type { Journal } from '../../journal.ts';
import type { Self } from '../protocol.ts';
import { recordOf } from './task-record.ts';
import type { TaskRows } from './task-rows.ts';

/**
 * Of each stage, the last round for which an update of this client is here and was not left out: what it kept for itself of that
 * round belongs to what the server has, and is in its own folder only.
 */
export function receivedOf(
  store: Pick<TaskRows, 'answered'>,
  journal: Pick<Journal, 'rounds' | 'clients'>,
  client: string,
): Self['received'] {
  const last = new Map<string, Self['received'][number]>();
  for (const row of store.answered(client)) {
    const { place, round } = row;
    const key = JSON.stringify([place?.method, place?.stageIndex]);
    if (place === undefined || last.has(key) || typeof recordOf(journal, place, row) === 'object') continue;
    last.set(key, { ...place, round });
  }
  return [...last.values()];
}
