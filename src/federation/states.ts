import { crc32 } from 'node:zlib';
import { decodeChunks, stateChunks } from '../tensor/encode.ts';
import type { State } from '../tensor/state.ts';
import { damaged, type Database, type Row } from './database.ts';
import type { Place } from './events.ts';
import { twice } from './intact.ts';

/**
 * States of a journal: each is written once, under the round it came from, and becomes readable when `current` points to it.
 * So a client's state moves with its acceptance, and moving it copies nothing.
 */
export const stateTables = `
  create table states (method text not null, stage integer not null, owner text not null, round integer not null,
    part integer not null, bytes blob not null, sum integer);
  create unique index states_by_owner on states (method, stage, owner, round, part);
  create table current (method text not null, owner text not null, stage integer not null, round integer not null,
    primary key (method, owner, stage)) without rowid;`;

/** Up to version 2 of the journal's tables parts had no sum (CRC-32 of their bytes); parts of that time have none. */
export const sumColumn = 'alter table states add column sum integer;';
export const statesTwice = twice('current', 'round', 'stage', 'owner', 'method');

export const SHARED = 'shared';
/** The owner of a sum with its noise. Clients' names are prefixed, so it is nobody's. */
export const RELEASED = 'released';
export const ownerOf = (client: string): string => `client:${client}`;

// Parts of a state: none comes near SQLite's limit of 1 GB for a value, and one at a time is in memory beside the state.
const PART = 16 * 2 ** 20;

/** Cuts an encoded state into rows' worth; the memory of a part is used again for the next. */
function* inParts(chunks: readonly Uint8Array[]): Generator<Uint8Array> {
  const buffer = new Uint8Array(
    Math.min(
      PART,
      chunks.reduce((sum, { length }) => sum + length, 0),
    ),
  );
  let filled = 0;
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + buffer.length - filled);
      buffer.set(piece, filled);
      at += piece.length;
      filled += piece.length;
      if (filled < buffer.length) continue;
      yield buffer;
      filled = 0;
    }
  }
  if (filled > 0) yield buffer.subarray(0, filled);
}

/** Writes a part of a state, with its sum. */
export const insertPart = (
  database: Pick<Database, 'run'>,
  at: Pick<Place, 'method' | 'stageIndex'>,
  owner: string,
  round: number,
  part: number,
  bytes: Uint8Array,
): void =>
  database.run(
    'insert into states (method, stage, owner, round, part, bytes, sum) values (?, ?, ?, ?, ?, ?, ?)',
    at.method,
    at.stageIndex,
    owner,
    round,
    part,
    bytes,
    crc32(bytes),
  );

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

  function* bytesOf(
    parts: readonly Row[],
    current: string,
    place: readonly [string, number, string],
  ): Generator<Uint8Array> {
    for (const { part } of parts)
      for (const { bytes, sum } of database.all(`select bytes, sum ${current} and part = ?`, ...place, Number(part))) {
        const found = new Uint8Array(bytes as ArrayBuffer);
        if (typeof sum === 'number' && sum !== crc32(found)) throw new Error('other bytes than were written');
        yield found;
      }
  }

  return {
    encode: stateChunks,
    write(at: Place, owner: string, round: number, encoded: readonly Uint8Array[]): void {
      drop(at, owner, round);
      let part = 0;
      for (const bytes of inParts(encoded)) insertPart(database, at, owner, round, part++, bytes);
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
      const current = `from states join current using (method, owner, stage, round)
         where method = ? and stage = ? and owner = ?`;
      const place = [at.method, at.stageIndex, owner] as const;
      const parts = database.all(`select part, length(bytes) as size ${current} order by part`, ...place);
      if (parts.length === 0) return undefined;
      const size = parts.reduce((sum, row) => sum + Number(row['size']), 0);
      try {
        return decodeChunks(bytesOf(parts, current, place), size);
      } catch (error) {
        const which = `${owner} of stage ${at.stageIndex + 1} of ${at.method}`;
        throw damaged(path, `${which}: ${(error as Error).message}`, error);
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
