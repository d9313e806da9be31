import Libsql from 'libsql';
import { UserError } from '../errors.ts';
import { JournalFailure } from './fatal.ts';

export type Row = Readonly<Record<string, unknown>>;

/** A column's text; undefined where it, or the row, has none. */
export const optionalText = (row: Row | undefined, column: string): string | undefined => {
  const value = row?.[column];
  return typeof value === 'string' ? value : undefined;
};
type Value = string | number | Uint8Array;

/** The few things asked of SQLite. Errors are UserError (the file is in use, or no database) or `JournalFailure`, with the file's name. */
export interface Database {
  exec(sql: string): void;
  run(sql: string, ...values: Value[]): void;
  all(sql: string, ...values: Value[]): readonly Row[];
  /** All or nothing; durable on return, or with `lazily` at the latest with the next transaction that is. */
  transaction(body: () => void, lazily?: 'lazily'): void;
  /** A consistent copy in a new file, of everything that is committed; not within a transaction. Nothing else happens meanwhile. */
  copyTo(path: string): void;
  close(): void;
}

/** A SQLite file, made where absent: write-ahead log, synced at each commit, locked against other processes. */
export function openDatabase(path: string): Database {
  const database = told(path, () => connect(path));
  const statements = new Map<string, Libsql.Statement>();
  const statement = (sql: string): Libsql.Statement => {
    let found = statements.get(sql);
    if (found === undefined) statements.set(sql, (found = database.prepare(sql)));
    return found;
  };
  let synced = true;
  const sync = (wanted: boolean): void => {
    if (wanted !== synced) database.pragma(`synchronous = ${wanted ? 'FULL' : 'NORMAL'}`);
    synced = wanted;
  };
  return {
    exec: (sql) => told(path, () => void database.exec(sql)),
    run: (sql, ...values) => told(path, () => void statement(sql).run(...values)),
    all: (sql, ...values) => told(path, () => statement(sql).all(...values) as Row[]),
    transaction: (body, lazily) =>
      told(path, () => {
        sync(lazily === undefined);
        database.exec('begin immediate');
        try {
          body();
          database.exec('commit');
        } catch (error) {
          // SQLite has rolled back already after some errors, a full disk among them; the first error is the one to tell.
          if (database.inTransaction) database.exec('rollback');
          throw error;
        }
      }),
    copyTo: (to) => told(to, () => void database.exec(`vacuum into '${to.replaceAll("'", "''")}'`)),
    close() {
      statements.clear();
      release(database);
    },
  };
}

/** A SQLite file that nobody writes any more; any number of processes may read it at once. */
export function readDatabase(path: string): Pick<Database, 'all' | 'close'> {
  const database = told(path, () => new Libsql(path, { readonly: true, timeout: 1000 }));
  return {
    all: (sql, ...values) => told(path, () => database.prepare(sql).all(...values) as Row[]),
    close: () => void database.close(),
  };
}

function connect(path: string): Libsql.Database {
  const database = new Libsql(path, { timeout: 1000 });
  // Larger pages suit states of megabytes. It takes effect on a new file only.
  database.pragma('page_size = 16384');
  database.pragma('locking_mode = EXCLUSIVE');
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  // A log of up to 64 MB before it goes into the file: a state that is replaced each round is written there once for many.
  database.pragma('wal_autocheckpoint = 4096');
  // Takes the lock now, not at the first write.
  database.exec('begin immediate; commit');
  return database;
}

/** libsql keeps a closed file open, and locked, as long as its statements live; so the lock is given up before. One file is left, without a log. */
function release(database: Libsql.Database): void {
  try {
    for (const statement of ['journal_mode = DELETE', 'locking_mode = NORMAL']) database.pragma(statement);
    database.prepare('select count(*) from sqlite_master').all();
  } catch {
    // A damaged file or a full disk: whoever met that has said so, and what is committed stays in the log.
  }
  database.close();
}

/** A file whose contents are not what was written. */
export const damaged = (path: string, what: string, cause?: unknown): JournalFailure =>
  new JournalFailure(
    `${path} is damaged (${what}). The run cannot be resumed from it: restore the file (a server's folder from its backup: docs/deploy.md, “A backup”), or start anew in another output folder.`,
    { cause },
  );

/** Runs `body`; says of its database errors what they mean to a person. */
function told<T>(path: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof JournalFailure || error instanceof UserError) throw error;
    const { code, message } = error as { code?: string; message?: string };
    const kept = 'Every round that was committed before is kept; --resume goes on from there.';
    if (code === 'SQLITE_BUSY' || code === 'SQLITE_LOCKED') {
      throw new UserError(`${path} is in use by another process. Wait for it, or choose another output folder.`);
    }
    if (code === 'SQLITE_NOTADB' || code?.startsWith('SQLITE_CORRUPT')) {
      throw damaged(path, message ?? code ?? '', error);
    }
    if (code === 'SQLITE_FULL' || code?.startsWith('SQLITE_IOERR') || code === 'ENOSPC') {
      throw new JournalFailure(`${path} cannot be written: ${message} (${code}). Is the disk full? ${kept}`, {
        cause: error,
      });
    }
    throw new JournalFailure(`${path}: ${message ?? String(error)}`, { cause: error });
  }
}
