import { auditIn, type AuditEntry } from '../../audit.ts';
import type { Place } from '../../events.ts';
import { openDatabase, type Row } from '../../database.ts';
import type { Journal } from '../../journal.ts';
import { createTables, upgrade, type Schema } from '../../schema.ts';
import type { DataCounts, TaskMessage } from '../protocol.ts';

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

/** A task that was offered, and what has come of it. */
export interface TaskRow {
  readonly id: string;
  readonly client: string;
  readonly kind: Exclude<TaskMessage['kind'], 'sum'>;
  readonly place: Place | undefined;
  readonly round: number;
  /** What the client sent, as it was parsed; undefined where nothing has come. */
  readonly result: unknown;
  /** The payload, while it is kept. */
  readonly digest: string | undefined;
}

/** The server's own record beside the journal: who may take part, what was offered, what has come. Each write is durable on return, unless it says otherwise. */
export interface Store {
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
  /** A consistent copy of the record in a new file, whatever is being written. */
  copyTo(path: string): void;
  task(id: string): TaskRow | undefined;
  /** Notes an offer; durable with the next write that is. */
  offered(task: Omit<TaskRow, 'result' | 'digest'>): void;
  /** Keeps what has come of a task, and a line of the audit. */
  finish(id: string, result: unknown, digest: string | undefined): void;
  /** Forgets what has come of a task, whose payload is damaged, with a line of the audit. */
  forgetResult(id: string): void;
  /** How many updates of each client were received. */
  updateCounts(): ReadonlyMap<string, number>;
  /** Payloads that results still name. */
  digests(): readonly string[];
  /** Forgets the payloads of a place's rounds up to this one, and gives them. */
  forgetPayloads(at: Place, round: number): readonly string[];
  /** Notes what happened in the run's journal. */
  audit(what: string, client: string, detail: string): void;
  auditLines: Journal['auditLines'];
  close(): void;
}

const tables = `
  create table if not exists meta (name text primary key, value text not null);
  create table if not exists clients (name text primary key, token text, expires real not null default 0, key text, data text);
  create table if not exists identities (name text primary key, key text not null unique);
  create table if not exists operators (role text primary key, token text not null, expires real not null);
  create table if not exists revoked (name text primary key, time real not null);
  create table if not exists tasks (id text primary key, client text not null, kind text not null, place text, method text, stage integer,
    round integer not null, result text, digest text);
  create index if not exists tasks_by_place on tasks (method, stage, round);`;

type Audit = Pick<Journal, 'audit' | 'auditLines'>;

/** Version 1 had the audit's lines, which are the journal's now. */
const schemaOf = (journal: Audit): Schema => ({
  tables,
  upgrades: [
    (database) => {
      const done: AuditEntry = { what: 'upgraded', client: '', detail: 'server.sqlite, version 1 to 2' };
      // Once, also where a kill has come between the two files.
      if (!journal.auditLines().some(({ what, detail }) => what === done.what && detail === done.detail))
        journal.audit([...auditIn(database).read(0, Number.MAX_SAFE_INTEGER), done]);
      database.exec('drop table audit');
    },
  ],
});

/**
 * Opens the server's record, or begins one; an older one is brought to the present tables, and a copy of it kept. `journal`: of the
 * run, for its audit; `now`: milliseconds since 1970. Throws UserError where another process has it, or a newer fedlora wrote it.
 */
export function openStore(path: string, journal: Audit, now: () => number = Date.now): Store {
  const database = openDatabase(path);
  try {
    const schema = schemaOf(journal);
    if (database.all(`select 1 from sqlite_master where name = 'meta'`).length > 0) upgrade(path, database, schema);
    else database.transaction(() => createTables(database, schema));
  } catch (error) {
    database.close();
    throw error;
  }
  const audit = (what: string, client: string, detail: string, lazily?: 'lazily'): void =>
    journal.audit([{ time: new Date(now()).toISOString(), what, client, detail }], lazily);
  const one = (sql: string, ...values: string[]): Row | undefined => database.all(sql, ...values)[0];
  const keyTime = (name: string): string => `key ${name}`;
  const noteKey = (name: string): void =>
    database.run('insert or replace into meta values (?, ?)', keyTime(name), String(now()));
  return {
    meta: (name) => optional(one('select value from meta where name = ?', name)?.['value']),
    setMeta: (name, value) =>
      database.transaction(() => database.run('insert or replace into meta values (?, ?)', name, value)),
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
      const noted = (): unknown => one('select value from meta where name = ?', keyTime(name))?.['value'];
      if (noted() === undefined) database.transaction(() => noteKey(name));
      return Number(noted());
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
    copyTo: (path) => database.copyTo(path),
    task: (id) => taskOf(one('select * from tasks where id = ?', id)),
    offered: ({ id, client, kind, place, round }) =>
      database.transaction(
        () =>
          database.run(
            'insert or ignore into tasks (id, client, kind, place, method, stage, round) values (?, ?, ?, ?, ?, ?, ?)',
            id,
            client,
            kind,
            JSON.stringify(place ?? null),
            place?.method ?? '',
            place?.stageIndex ?? -1,
            round,
          ),
        'lazily',
      ),
    finish: (id, result, digest) =>
      database.transaction(() => {
        const task = taskOf(one('select * from tasks where id = ?', id));
        const json = JSON.stringify(result);
        if (digest === undefined) database.run('update tasks set result = ? where id = ?', json, id);
        else database.run('update tasks set result = ?, digest = ? where id = ?', json, digest, id);
        const { place, round = 0, client = '' } = task ?? {};
        const where = place === undefined ? '' : `${place.method} · ${place.stage}, round ${round + 1}: `;
        // Durable with the round that counts it, at the latest.
        audit('received', client, `${where}task ${id}${digest === undefined ? '' : `, update ${digest}`}`, 'lazily');
      }),
    forgetResult: (id) =>
      database.transaction(() => {
        const task = taskOf(one('select * from tasks where id = ?', id));
        database.run('update tasks set result = null, digest = null where id = ?', id);
        audit('damaged', task?.client ?? '', `${id} ${task?.digest ?? ''}`.trimEnd());
      }),
    updateCounts: () =>
      new Map(
        database
          .all(`select client, count(*) as n from tasks where kind = 'train' and result is not null group by client`)
          .map((row) => [String(row['client']), Number(row['n'])]),
      ),
    digests: () =>
      database.all('select digest from tasks where digest is not null').map((row) => String(row['digest'])),
    forgetPayloads({ method, stageIndex }, round) {
      const which = 'method = ? and stage = ? and round <= ? and digest is not null';
      const rows = database.all(`select digest from tasks where ${which}`, method, stageIndex, round);
      if (rows.length > 0)
        database.transaction(() =>
          database.run(`update tasks set digest = null where ${which}`, method, stageIndex, round),
        );
      return rows.map((row) => String(row['digest']));
    },
    audit: (what, client, detail) => audit(what, client, detail),
    auditLines: (after, most) => journal.auditLines(after, most),
    close: () => database.close(),
  };
}

const optional = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

function clientOf(row: Row): ClientRow {
  const data = optional(row['data']);
  return {
    name: String(row['name']),
    token: optional(row['token']),
    tokenExpires: Number(row['expires']),
    key: optional(row['key']),
    data: data === undefined ? undefined : (JSON.parse(data) as DataCounts | null),
  };
}

function taskOf(row: Row | undefined): TaskRow | undefined {
  if (row === undefined) return undefined;
  const result = optional(row['result']);
  const place = JSON.parse(String(row['place'])) as Place | null;
  return {
    id: String(row['id']),
    client: String(row['client']),
    kind: row['kind'] === 'train' ? 'train' : 'evaluate',
    place: place ?? undefined,
    round: Number(row['round']),
    result: result === undefined ? undefined : (JSON.parse(result) as unknown),
    digest: optional(row['digest']),
  };
}
