import { renameSync, rmSync } from 'node:fs';
import { UserError } from '../errors.ts';
import type { Database } from './database.ts';

/** What tables a database of ours has, and how an older one becomes a present one. */
export interface Schema {
  /** SQL that makes all tables of a new file. */
  readonly tables: string;
  /** The first makes version 2 of version 1, and so on: the last one's is the present version. */
  readonly upgrades: readonly ((database: Database) => void)[];
}

const versionOf = ({ upgrades }: Schema): number => upgrades.length + 1;

/** Makes a new file's tables, in a transaction of the caller's. */
export function createTables(database: Database, schema: Schema): void {
  database.exec(schema.tables);
  setVersion(database, versionOf(schema));
}

/** The version of a file that has tables; the first had no number. Throws UserError for one of a newer fedlora. */
export function storedVersion(path: string, database: Database, schema: Schema): number {
  const [row] = database.all('pragma user_version');
  const version = Math.max(1, Number(row?.['user_version']));
  const present = versionOf(schema);
  if (version <= present) return version;
  throw new UserError(
    `${path} was written by a newer fedlora (version ${version} of its tables, and this one knows ${present}): nothing was changed. Go on with the newer one, or with the copy of version ${present} that it has kept beside it.`,
  );
}

/** Brings an older file to the present version, all or nothing, after a copy of it is kept as `<file>.v<its version>`. */
export function upgrade(path: string, database: Database, schema: Schema): void {
  const version = storedVersion(path, database, schema);
  if (version === versionOf(schema)) return;
  const copy = `${path}.v${version}`;
  rmSync(`${copy}.tmp`, { force: true });
  database.copyTo(`${copy}.tmp`);
  renameSync(`${copy}.tmp`, copy);
  database.transaction(() => {
    for (const step of schema.upgrades.slice(version - 1)) step(database);
    setVersion(database, versionOf(schema));
  });
}

const setVersion = (database: Database, version: number): void => database.exec(`pragma user_version = ${version}`);
