import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import { openDatabase, readDatabase, type Database, type Row } from './database.ts';
import type { Place } from './events.ts';
import { insertPart, SHARED, stateTables } from './states.ts';

/** A finished stage in a file of its own, from which other journals take it: what it did, its states, and what was measured. */
const tables = `
  create table stage (rounds integer not null, measured text not null);
  create table events (round integer not null, kind text not null, client text not null, json text not null);
  ${stateTables}`;

/** In the place of a method's label and a stage's number, which each journal has its own of. */
const nowhere = { method: '', stageIndex: 0 };

/** Writes a finished stage to a file that appears whole or not at all. `measured`: plain data, kept beside it. */
export function putAside(journal: Database, at: Place, path: string, rounds: number, measured: unknown): void {
  // By a name that no killed process has left a log for, which SQLite would take for this file's.
  const unfinished = `${path}.${randomUUID()}.tmp`;
  try {
    writeStage(journal, at, unfinished, rounds, measured);
    // The file is whole only without its log; a full disk may leave one.
    if (existsSync(`${unfinished}-wal`)) throw new Error(`${path} could not be written whole: is the disk full?`);
    renameSync(unfinished, path);
  } catch (error) {
    for (const end of ['', '-wal', '-shm', '-journal']) rmSync(`${unfinished}${end}`, { force: true });
    throw error;
  }
}

function writeStage(journal: Database, at: Place, path: string, rounds: number, measured: unknown): void {
  const file = openDatabase(path);
  try {
    file.transaction(() => {
      file.exec(tables);
      file.run('insert into stage values (?, ?)', rounds, JSON.stringify(measured ?? null));
      for (const row of recorded(journal, at))
        file.run('insert into events values (?, ?, ?, ?)', ...columns(row, ['round', 'kind', 'client', 'json']));
      copyStates(journal, at, file, nowhere);
    });
  } finally {
    file.close();
  }
}

/** Removes what processes that were killed left half-written on a shelf that nobody is at. */
export function tidyShelf(shelf: string): void {
  if (!existsSync(shelf)) return;
  for (const name of readdirSync(shelf))
    if (/\.tmp(-wal|-shm|-journal)?$/.test(name)) rmSync(join(shelf, name), { force: true });
}

/** Copies a stage that was put aside into a journal that has not begun it, in a transaction of the caller's. Gives its rounds and what was measured. */
export function takeFrom(
  path: string,
  journal: Database,
  at: Place,
  begin: () => void,
): { readonly rounds: number; readonly measured: unknown } {
  const file = readDatabase(path);
  try {
    const [stage] = file.all('select rounds, measured from stage');
    if (stage === undefined) throw new UserError(`${path} is damaged: remove it, and the stage is computed again`);
    const rounds = Number(stage['rounds']);
    begin();
    for (const row of file.all('select round, kind, client, json from events order by rowid')) {
      const [round, kind, client, json] = columns(row, ['round', 'kind', 'client', 'json']);
      journal.run(
        'insert into events (method, stage, round, kind, client, json) values (?, ?, ?, ?, ?, ?)',
        at.method,
        at.stageIndex,
        round!,
        kind!,
        client!,
        json!,
      );
    }
    copyStates(file, nowhere, journal, at);
    return { rounds, measured: JSON.parse(String(stage['measured'])) as unknown };
  } finally {
    file.close();
  }
}

/** What clients and rounds did, in the order in which it was written; rounds that failed are nobody else's concern. */
const recorded = (journal: Pick<Database, 'all'>, at: Place): readonly Row[] =>
  journal.all(
    `select round, kind, client, json from events where method = ? and stage = ? and kind in ('client', 'round') order by id`,
    at.method,
    at.stageIndex,
  );

type Where = Pick<Place, 'method' | 'stageIndex'>;

/** Copies the states that are current, one part at a time: a part is memory, all of them may be much. */
function copyStates(from: Pick<Database, 'all'>, there: Where, to: Database, here: Where): void {
  const current = from.all(
    'select owner, round from current where method = ? and stage = ? order by owner',
    there.method,
    there.stageIndex,
  );
  for (const row of current) {
    const [owner, round] = columns(row, ['owner', 'round']);
    for (let part = 0; ; part++) {
      const [found] = from.all(
        'select bytes from states where method = ? and stage = ? and owner = ? and round = ? and part = ?',
        there.method,
        there.stageIndex,
        owner!,
        round!,
        part,
      );
      if (found === undefined) break;
      const bytes = new Uint8Array(found['bytes'] as ArrayBuffer);
      insertPart(to, here, String(owner), Number(round), part, bytes);
    }
    to.run('insert into current values (?, ?, ?, ?)', here.method, owner!, here.stageIndex, round!);
  }
  if (!current.some((row) => row['owner'] === SHARED)) throw new Error('a stage without a shared state is none');
}

const columns = (row: Row, names: readonly string[]): (string | number)[] =>
  names.map((name) => {
    const value = row[name];
    if (typeof value !== 'string' && typeof value !== 'number') throw new Error(`column ${name} holds no plain value`);
    return value;
  });
