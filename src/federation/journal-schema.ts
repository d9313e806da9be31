import { auditIn, auditTable, unchainedTable } from './audit.ts';
import { twice } from './intact.ts';
import type { Schema } from './schema.ts';
import { sumColumn, stateTables, statesTwice } from './states.ts';

// States have sums of their own.
const second = [
  twice('identity', 'name', 'value'),
  twice('events', 'method', 'stage', 'round', 'kind', 'client', 'json'),
  twice('records', 'name', 'json'),
  twice('audit', 'time', 'what', 'client', 'detail', 'hash'),
  statesTwice,
].join(' ');

/** The tables of a journal. Version 2 brought the audit, version 3 its chain and what damage is found by. */
export const journalSchema: Schema = {
  tables: `
  create table identity (name text primary key, value text not null);
  create table events (id integer primary key, method text not null, stage integer not null, round integer not null,
    kind text not null, client text not null, json text not null);
  create index events_by_place on events (method, stage, kind, round);
  create table records (name text primary key, json text not null);
  ${stateTables} ${auditTable} ${second}`,
  upgrades: [
    (database) => database.exec(unchainedTable),
    (database) => {
      database.exec(`alter table audit add column hash text not null default ''; ${sumColumn} ${second}`);
      auditIn(database).link();
    },
  ],
};
