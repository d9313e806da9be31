import { decodeState, encodeState } from '../tensor/encode.ts';
import type { State } from '../tensor/state.ts';
import type { Database, Row } from './database.ts';
import type { Place } from './events.ts';
import { JournalFailure } from './fatal.ts';

/**
 * States of a journal: each is written once, under the round it came from, and becomes readable when `current` points to it.
 * So a client's state moves with its acceptance, and moving it copies nothing.
 */
export const stateTables = `
  create table states (method text not null, stage integer not null, owner text not null, round integer not null,
    part integer not null, bytes blob not null);
  create unique index states_by_owner on states (method, stage, owner, round, part);
  create table current (method text not null, owner text not null, stage integer not null, round integer not null,
    primary key (method, owner, stage)) without rowid;`;

export const SHARED = 'shared';
/** The owner of a sum with its noise. Clients' names are prefixed, so it is nobody's. */
export const RELEASED = 'released';
export const ownerOf = (client: string): string => `client:${client}`;

// Parts of a state, so that none comes near SQLite's limit of 1 GB for a value.
const PART = 64 * 2 ** 20;

/** Splits an encoded state into rows' worth. */
function* inParts(bytes: Uint8Array): Generator<[part: number, bytes: Uint8Array]> {
  for (let part = 0; part === 0 || part * PART < bytes.length; part++) {
    yield [part, bytes.subarray(part * PART, (part + 1) * PART)];
  }
}

function joined(rows: readonly Row[]): Uint8Array {
  const parts = rows.map((row) => new Uint8Array(row['bytes'] as ArrayBuffer));
  const [only] = parts;
  return parts.length === 1 && only ? only : Buffer.concat(parts);
}

/** States over a database. All that write belong in a transaction of the caller's. */
export function statesIn(database: Database, path: string) {
  const one = 'method = ? and stage = ? and owner = ? and round = ?';

  function drop(at: Place, owner: string, round: number): void {
    database.run(`delete from states where ${one}`, at.method, at.stageIndex, owner, round);
  }

  /** Points to what was written for that round, if anything was, and drops what was there before. */
  function adopt(at: Place, owner: string, round: number): void {
    const written = database.all(`select 1 from states where ${one} limit 1`, at.method, at.stageIndex, owner, round);
    if (written.length === 0) return;
    database.run(
      'delete from states where method = ? and stage = ? and owner = ? and round <> ?',
      at.method,
      at.stageIndex,
      owner,
      round,
    );
    database.run('insert or replace into current values (?, ?, ?, ?)', at.method, owner, at.stageIndex, round);
  }

  return {
    encode: encodeState,
    write(at: Place, owner: string, round: number, encoded: Uint8Array): void {
      drop(at, owner, round);
      for (const [part, bytes] of inParts(encoded)) {
        database.run(
          'insert into states values (?, ?, ?, ?, ?, ?)',
          at.method,
          at.stageIndex,
          owner,
          round,
          part,
          bytes,
        );
      }
    },
    drop,
    adopt,
    /** Drops what was written for clients in this stage and never adopted. */
    dropUnadopted(at: Place): void {
      database.run(
        `delete from states where method = ? and stage = ? and owner <> ? and not exists (select 1 from current
         where current.method = states.method and current.owner = states.owner and current.stage = states.stage and current.round = states.round)`,
        at.method,
        at.stageIndex,
        SHARED,
      );
    },
    /** Undefined where there is none. Throws `JournalFailure` where it cannot be read. */
    read(at: Place, owner: string): State | undefined {
      const rows = database.all(
        `select bytes from states join current using (method, owner, stage, round)
         where method = ? and stage = ? and owner = ? order by part`,
        at.method,
        at.stageIndex,
        owner,
      );
      if (rows.length === 0) return undefined;
      try {
        return decodeState(joined(rows));
      } catch (error) {
        const why = (error as Error).message;
        const which = `${owner} of stage ${at.stageIndex + 1} of ${at.method}`;
        throw new JournalFailure(`${path} is damaged (${which}: ${why})`, { cause: error });
      }
    },
    /** The latest stage up to this one in which the owner has a state. */
    latest(at: Place, owner: string): Place | undefined {
      const [row] = database.all(
        'select max(stage) as stage from current where method = ? and owner = ? and stage <= ?',
        at.method,
        owner,
        at.stageIndex,
      );
      const stageIndex = row?.['stage'];
      return typeof stageIndex === 'number' ? { ...at, stageIndex } : undefined;
    },
  };
}
