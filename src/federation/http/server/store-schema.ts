import { auditIn, type AuditEntry } from '../../audit.ts';
import { twice } from '../../intact.ts';
import type { Journal } from '../../journal.ts';
import type { Schema } from '../../schema.ts';
import { taskColumns, taskTables } from './task-rows.ts';

/** What the server's record needs of the run's journal. */
export type StoreJournal = Pick<Journal, 'audit' | 'auditLines' | 'auditChain' | 'position' | 'record' | 'recorded'>;

const second = [
  twice('meta', 'name', 'value'),
  twice('clients', 'name', 'token', 'expires', 'key', 'data'),
  twice('identities', 'name', 'key'),
  twice('operators', 'role', 'token', 'expires'),
  twice('revoked', 'name', 'time'),
  twice('tasks', ...taskColumns),
].join(' ');

const present = `
  create table if not exists meta (name text primary key, value text not null);
  create table if not exists clients (name text primary key, token text, expires real not null default 0, key text, data text);
  create table if not exists identities (name text primary key, key text not null unique);
  create table if not exists operators (role text primary key, token text not null, expires real not null);
  create table if not exists revoked (name text primary key, time real not null);
  ${taskTables} ${second}`;

/** Version 1 had the audit's lines, which are the journal's now; version 3 brought what damage is found by. */
export const storeSchema = (journal: StoreJournal): Schema => ({
  tables: present,
  upgrades: [
    (database) => {
      const done: AuditEntry = { what: 'upgraded', client: '', detail: 'server.sqlite, version 1 to 2' };
      // Once, also where a kill has come between the two files.
      if (!journal.auditLines().some(({ what, detail }) => what === done.what && detail === done.detail))
        journal.audit([...auditIn(database).read(0, Number.MAX_SAFE_INTEGER), done]);
      database.exec('drop table audit');
    },
    // The earliest files of version 1 had fewer tables.
    (database) => database.exec(present),
  ],
});
