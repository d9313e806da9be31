import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Place, RoundRecord } from '../../src/federation/events.ts';
import type { UpdateMessage } from '../../src/federation/http/protocol.ts';
import { openDatabase, type Row } from '../../src/federation/database.ts';
import { openJournal, type Identity, type Journal } from '../../src/federation/journal.ts';

/** A training task as the server's own record has it. */
export interface Recorded {
  readonly id: string;
  readonly client: string;
  readonly place: Place;
  readonly round: number;
  /** What was received; undefined where nothing was. */
  readonly message: UpdateMessage | undefined;
}

/** What a server has left behind, read once all its processes are gone. */
export interface Evidence {
  readonly tasks: readonly Recorded[];
  /** Stages that have begun, in order. */
  readonly places: readonly (Place & { readonly planned: number })[];
  readonly rounds: (place: Place) => readonly RoundRecord[];
  readonly journal: Journal;
  /** Rows that each client said it trains on, where it said so. */
  readonly examples: ReadonlyMap<string, number>;
  /** The kinds of what the journal has of each round, in order. */
  readonly events: readonly {
    readonly kind: string;
    readonly stage: number;
    readonly round: number;
    readonly json: unknown;
  }[];
  close(): void;
}

/** The record of the round that a task is of; undefined where that has not ended. */
export const roundOf = (
  evidence: Pick<Evidence, 'rounds'>,
  { place, round }: Pick<Recorded, 'place' | 'round'>,
): RoundRecord | undefined => evidence.rounds(place).find((one) => one.round === round);

/** @param folder the server's. Undefined where it never came to a journal. */
export function evidenceOf(folder: string): Evidence | undefined {
  const path = join(folder, 'journal.sqlite');
  const record = join(folder, 'server', 'server.sqlite');
  if (!existsSync(path) || !existsSync(record)) return undefined;
  const stages = rows(path, `select method, stage, json from events where kind = 'stage' order by id`);
  const events = rows(path, 'select kind, stage, round, json from events order by id');
  const counts = rows(record, 'select name, data from clients where data is not null');
  const journal = journalAt(path);
  const tasks = rows(record, `select id, client, place, round, result from tasks where kind = 'train'`);
  return {
    tasks: tasks.map(({ result, ...row }) => ({
      id: String(row['id']),
      client: String(row['client']),
      place: JSON.parse(String(row['place'])) as Place,
      round: Number(row['round']),
      message: typeof result === 'string' ? (JSON.parse(result) as UpdateMessage) : undefined,
    })),
    places: stages.map((row) => {
      const { name, rounds } = JSON.parse(String(row['json'])) as { name: string; rounds: number };
      return { method: String(row['method']), stage: name, stageIndex: Number(row['stage']), planned: rounds };
    }),
    rounds: (place) => journal.rounds(place),
    journal,
    examples: new Map(
      counts.flatMap(({ name, data }) => {
        const train = (JSON.parse(String(data)) as { train?: number } | null)?.train;
        return train === undefined ? [] : [[String(name), train] as const];
      }),
    ),
    events: events.map(({ kind, stage, round, json }) => ({
      kind: String(kind),
      stage: Number(stage),
      round: Number(round),
      json: JSON.parse(String(json)) as unknown,
    })),
    close: () => journal.close(),
  };
}

/** A journal that nobody has open, whatever run it is of. */
export function journalAt(path: string): Journal {
  const identity = Object.fromEntries(
    rows(path, 'select name, value from identity').map((row) => [String(row['name']), String(row['value'])]),
  ) as Identity;
  return openJournal({ path, identity, resume: true });
}

export function rows(path: string, sql: string): readonly Row[] {
  const database = openDatabase(path);
  try {
    return database.all(sql);
  } finally {
    database.close();
  }
}
