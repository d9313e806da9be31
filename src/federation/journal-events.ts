import type { Database, Row } from './database.ts';
import type { Place } from './events.ts';

/** The events of a journal, which only grow. Writing belongs in a transaction of the caller's. */
export function eventsIn(database: Pick<Database, 'run' | 'all'>) {
  return {
    write: (at: Place, round: number, kind: string, client: string, value: unknown): void =>
      database.run(
        'insert into events (method, stage, round, kind, client, json) values (?, ?, ?, ?, ?, ?)',
        at.method,
        at.stageIndex,
        round,
        kind,
        client,
        JSON.stringify(value),
      ),
    /** Of a kind, in the order written; of one round or of all. */
    read: (at: Place, kind: string, round?: number): readonly unknown[] =>
      database
        .all(
          `select json from events where method = ? and stage = ? and kind = ? ${round === undefined ? '' : 'and round = ?'} order by id`,
          at.method,
          at.stageIndex,
          kind,
          ...(round === undefined ? [] : [round]),
        )
        .map((row) => JSON.parse(textIn(row, 'json')) as unknown),
    /** Bytes of each client in a stage. */
    traffic: (at: Place): ReadonlyMap<string, { readonly up: number; readonly down: number }> =>
      new Map(
        database
          .all(
            `select client, sum(json_extract(json, '$.up')) as up, sum(json_extract(json, '$.down')) as down from events
             where method = ? and stage = ? and kind = 'client' group by client order by client`,
            at.method,
            at.stageIndex,
          )
          .map((row) => [textIn(row, 'client'), { up: Number(row['up']), down: Number(row['down']) }]),
      ),
  };
}

export function textIn(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw new Error(`column ${column} of the journal holds no text`);
  return value;
}
