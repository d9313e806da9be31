import { damaged, type Database } from './database.ts';

/** SQL for an index over every column of a table. SQLite then has each row's contents twice, and its `integrity_check` compares the two. */
export const twice = (table: string, ...columns: readonly string[]): string =>
  `create index ${table}_twice on ${table} (${columns.join(', ')});`;

/** Throws `JournalFailure` where a file's structure is damaged, or a row is not what its second copy says (`twice`). Reads all of the file. */
export function requireIntact(path: string, database: Pick<Database, 'all'>): void {
  const found = database.all('pragma integrity_check(3)').map((row) => String(Object.values(row)[0]));
  if (found.length === 1 && found[0] === 'ok') return;
  throw damaged(path, found.join('; ').replaceAll('\n', ' '));
}
