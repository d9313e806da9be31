import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { AuditChain } from '../../audit.ts';
import { openDatabase, optionalText, type Database, type Row } from '../../database.ts';
import { requireIntact } from '../../intact.ts';
import type { Journal } from '../../journal.ts';
import { gone, lost, sizeOf } from '../../lost.ts';
import { createTables, upgrade } from '../../schema.ts';
import type { DataCounts } from '../protocol.ts';
import { storeSchema, type StoreJournal } from './store-schema.ts';
import { tasksIn, type TaskRows } from './task-rows.ts';
import { openWitness, POSITION, requireAll, writeWitness, type Noted } from './witness.ts';

/** A client as the server knows it. Secrets are kept as SHA-256 only. */
export interface ClientRow {
  readonly name: string;
  readonly token: string | undefined;
  /** Milliseconds since 1970. */
  readonly tokenExpires: number;
  readonly key: string | undefined;
  /** null: it is ready, and its counts stay with it. */
  readonly data: DataCounts | null | undefined;
}

/** The tokens of those who run a federation: `viewer` may look, `admin` may also do. */
export type Role = 'admin' | 'viewer';

/** The server's own record beside the journal: who may take part, what was offered, what has come. Each write is durable on return, unless it says otherwise. */
export interface Store extends TaskRows {
  meta(name: string): string | undefined;
  setMeta(name: string, value: string): void;
  clients(): readonly ClientRow[];
  client(name: string): ClientRow | undefined;
  /** All or none. `expires`: milliseconds since 1970. */
  setTokens(tokens: readonly { readonly name: string; readonly hash: string }[], expires: number): void;
  /** `fedlora`: the version that the client has, and what else it says of its code. */
  setKey(name: string, hash: string, fedlora: string): void;
  /** When the client's key was set, or first asked about where that was not noted; milliseconds since 1970. */
  keySet(name: string): number;
  setData(name: string, data: DataCounts | null): void;
  /** Clients' public keys, base64url, by their names. */
  identities(): ReadonlyMap<string, string>;
  setIdentity(name: string, key: string): void;
  /** Operators' tokens, as hashes. */
  operators(): readonly { readonly role: Role; readonly token: string; readonly expires: number }[];
  setOperator(role: Role, hash: string, expires: number): void;
  /** A client joins anew: its key, identity and counts are forgotten and it is not revoked any more, all or nothing. */
  renew(name: string, hash: string, expires: number): void;
  /** Since when a client's key is not valid any more, milliseconds since 1970; undefined where it is. */
  revoked(name: string): number | undefined;
  revoke(name: string): void;
  /**
   * A client leaves: its token and key are not valid from now on, and its counts, identity and tasks are forgotten, all or nothing.
   * Gives the payloads of its updates that no committed round has let go.
   */
  forget(name: string): readonly string[];
  /** A consistent copy of the record in a new file, whatever is being written; the journal's of the same moment was made just before. */
  copyTo(path: string): void;
  /** Notes what happened in the run's journal. */
  audit(what: string, client: string, detail: string): void;
  auditLines: Journal['auditLines'];
  auditChain(): AuditChain;
  close(): void;
}

/** Under this name the journal knows the record that belongs to it, and the record itself. */
const RECORD = 'record';
const WRITES = 'writes';

/**
 * Opens the server's record, or begins one; an older one is brought to the present tables, and a copy of it kept. `journal`: of the
 * run; `now`: milliseconds since 1970. Throws UserError where another process has it, or a newer fedlora wrote it, and
 * `JournalFailure` where it is damaged, or of it or of the journal less is there than was.
 */
export function openStore(path: string, journal: StoreJournal, now: () => number = Date.now): Store {
  const known = journal.recorded(RECORD);
  // Before it is opened: SQLite would remove the log of a file that is not there.
  if (known !== undefined && sizeOf(path) === 0) throw gone(path);
  const opened = openDatabase(path);
  const one = (sql: string, ...values: string[]): Row | undefined => opened.all(sql, ...values)[0];
  const meta = (name: string): string | undefined =>
    optionalText(one('select value from meta where name = ?', name), 'value');
  const position = join(dirname(path), POSITION);
  let writes = 0;
  try {
    const schema = storeSchema(journal);
    if (opened.all(`select 1 from sqlite_master where name = 'meta'`).length > 0) {
      requireIntact(path, opened);
      upgrade(path, opened, schema);
    } else if (known !== undefined) throw gone(path);
    else opened.transaction(() => createTables(opened, schema));
    writes = Number(meta(WRITES) ?? 0);
    requireAll(position, journal, { path, writes });
    if (known !== undefined && meta(RECORD) !== known) throw lost(`${path} is not the record of the journal beside it`);
  } catch (error) {
    opened.close();
    throw error;
  }
  const witness = openWitness(position);
  let durable = writes;
  const noted = (): Noted => ({ ...journal.position(), writes: durable });
  const note = (name: string, value: string): void =>
    opened.run('insert or replace into meta values (?, ?)', name, value);
  const database: Database = {
    ...opened,
    transaction(body, lazily) {
      opened.transaction(() => {
        body();
        note(WRITES, String(writes + 1));
      }, lazily);
      writes++;
      if (lazily !== undefined) return;
      durable = writes;
      witness.note(noted());
    },
  };
  const audit = (what: string, client: string, detail: string, lazily?: 'lazily'): void =>
    journal.audit([{ time: new Date(now()).toISOString(), what, client, detail }], lazily);
  if (known === undefined) {
    const record = meta(RECORD) ?? randomBytes(16).toString('hex');
    database.transaction(() => note(RECORD, record));
    journal.record(RECORD, record);
  }
  const { broken } = journal.auditChain();
  if (broken !== null) audit('audit broken', '', `at line ${broken}: it, or one before it, was changed or removed`);
  const tasks = tasksIn(database, audit);
  const keyTime = (name: string): string => `key ${name}`;
  const noteKey = (name: string): void => note(keyTime(name), String(now()));
  return {
    meta,
    setMeta: (name, value) => database.transaction(() => note(name, value)),
    clients: () => database.all('select * from clients order by name').map(clientOf),
    client: (name) => database.all('select * from clients where name = ?', name).map(clientOf)[0],
    setTokens: (tokens, expires) =>
      database.transaction(() => {
        for (const { name, hash } of tokens) {
          database.run('insert or replace into clients (name, token, expires) values (?, ?, ?)', name, hash, expires);
        }
        const detail = `valid until ${new Date(expires).toISOString()}`;
        journal.audit(tokens.map(({ name: client }) => ({ what: 'token made', client, detail })));
      }),
    setKey: (name, hash, fedlora) =>
      database.transaction(() => {
        database.run('update clients set key = ? where name = ?', hash, name);
        noteKey(name);
        audit('joined', name, `fedlora ${fedlora}`);
      }),
    keySet(name) {
      if (meta(keyTime(name)) === undefined) database.transaction(() => noteKey(name));
      return Number(meta(keyTime(name)));
    },
    setData: (name, data) =>
      database.transaction(() => {
        database.run('update clients set data = ? where name = ?', JSON.stringify(data), name);
        audit('ready', name, JSON.stringify(data));
      }),
    identities: () =>
      new Map(database.all('select * from identities').map((row) => [String(row['name']), String(row['key'])])),
    setIdentity: (name, key) =>
      database.transaction(() => {
        database.run('insert into identities values (?, ?)', name, key);
        audit('identity', name, key);
      }),
    operators: () =>
      database.all('select * from operators order by role').map((row) => ({
        role: row['role'] === 'admin' ? 'admin' : 'viewer',
        token: String(row['token']),
        expires: Number(row['expires']),
      })),
    setOperator: (role, hash, expires) =>
      database.transaction(() => {
        database.run('insert or replace into operators values (?, ?, ?)', role, hash, expires);
        audit('operator token made', '', `${role}, valid until ${new Date(expires).toISOString()}`);
      }),
    renew: (name, hash, expires) =>
      database.transaction(() => {
        database.run('update clients set token = ?, expires = ?, key = null where name = ?', hash, expires, name);
        database.run('delete from identities where name = ?', name);
        database.run('delete from revoked where name = ?', name);
        database.run('update clients set data = null where name = ?', name);
        audit('token made anew', name, `valid until ${new Date(expires).toISOString()}`);
      }),
    revoked(name) {
      const time = one('select time from revoked where name = ?', name)?.['time'];
      return time === undefined ? undefined : Number(time);
    },
    revoke(name) {
      if (one('select name from revoked where name = ?', name) !== undefined) return;
      database.transaction(() => {
        database.run('insert into revoked values (?, ?)', name, now());
        audit('revoked', name, '');
      });
    },
    forget(name) {
      const rows = database.all('select digest from tasks where client = ? and digest is not null', name);
      database.transaction(() => {
        database.run('delete from tasks where client = ?', name);
        database.run('delete from identities where name = ?', name);
        database.run('update clients set token = null, data = null where name = ?', name);
        database.run('insert or ignore into revoked values (?, ?)', name, now());
        audit('left', name, `${rows.length} update(s) that no round had counted yet were deleted`);
      });
      return rows.map((row) => String(row['digest']));
    },
    copyTo(to) {
      opened.copyTo(to);
      writeWitness(join(dirname(to), POSITION), noted());
    },
    ...tasks,
    forgetPayloads(at, round) {
      const digests = tasks.forgetPayloads(at, round);
      witness.require(noted());
      return digests;
    },
    audit: (what, client, detail) => audit(what, client, detail),
    auditLines: (after, most) => journal.auditLines(after, most),
    auditChain: () => journal.auditChain(),
    close() {
      witness.close();
      opened.close();
    },
  };
}

function clientOf(row: Row): ClientRow {
  const data = optionalText(row, 'data');
  return {
    name: String(row['name']),
    token: optionalText(row, 'token'),
    tokenExpires: Number(row['expires']),
    key: optionalText(row, 'key'),
    data: data === undefined ? undefined : (JSON.parse(data) as DataCounts | null),
  };
}
