import { optionalText, type Database, type Row } from '../../database.ts';
import type { Place } from '../../events.ts';
import type { TaskMessage } from '../protocol.ts';

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

/** The part of the server's record that is of tasks. Each write is durable on return, unless it says otherwise. */
export interface TaskRows {
  task(id: string): TaskRow | undefined;
  /** Notes an offer; durable with the next write that is. */
  offered(task: Omit<TaskRow, 'result' | 'digest'>): void;
  /** Keeps what has come of a task, and a line of the audit. */
  finish(id: string, result: unknown, digest: string | undefined): void;
  /** Forgets what has come of a task, whose payload is damaged, with a line of the audit. */
  forgetResult(id: string): void;
  /** A client's training tasks of which something has come, the latest rounds first. */
  answered(client: string): readonly TaskRow[];
  /** How many updates of each client were received. */
  updateCounts(): ReadonlyMap<string, number>;
  /** Payloads that results still name. */
  digests(): readonly string[];
  /** Forgets the payloads of a place's rounds up to this one, and gives them. */
  forgetPayloads(at: Place, round: number): readonly string[];
}

export const taskTables = `create table if not exists tasks (id text primary key, client text not null, kind text not null, place text,
    method text, stage integer, round integer not null, result text, digest text);
  create index if not exists tasks_by_place on tasks (method, stage, round);`;

export const taskColumns = ['id', 'client', 'kind', 'place', 'method', 'stage', 'round', 'result', 'digest'] as const;

/** @param audit notes a line of the audit */
export function tasksIn(
  database: Database,
  audit: (what: string, client: string, detail: string, lazily?: 'lazily') => void,
): TaskRows {
  const one = (id: string): TaskRow | undefined => taskOf(database.all('select * from tasks where id = ?', id)[0]);
  return {
    task: one,
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
        const task = one(id);
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
        const task = one(id);
        database.run('update tasks set result = null, digest = null where id = ?', id);
        audit('damaged', task?.client ?? '', `${id} ${task?.digest ?? ''}`.trimEnd());
      }),
    answered: (client) =>
      database
        .all(
          `select * from tasks where client = ? and kind = 'train' and result is not null order by round desc`,
          client,
        )
        .map((row) => taskOf(row)!),
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
  };
}

function taskOf(row: Row | undefined): TaskRow | undefined {
  if (row === undefined) return undefined;
  const result = optionalText(row, 'result');
  const place = JSON.parse(String(row['place'])) as Place | null;
  return {
    id: String(row['id']),
    client: String(row['client']),
    kind: row['kind'] === 'train' ? 'train' : 'evaluate',
    place: place ?? undefined,
    round: Number(row['round']),
    result: result === undefined ? undefined : (JSON.parse(result) as unknown),
    digest: optionalText(row, 'digest'),
  };
}
