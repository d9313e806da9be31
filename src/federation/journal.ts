import { UserError } from '../errors.ts';
import { putAside, takeFrom } from './shelved.ts';
import { isNothing, type State } from '../tensor/state.ts';
import type { CombinedSum, RoundPrivacy } from '../methods/stage.ts';
import { auditIn, chained, type AuditChain, type AuditEntry, type ChainedLine } from './audit.ts';
import type { ClientRecord, Place, RoundRecord } from './events.ts';
import { openDatabase, type Database } from './database.ts';
import { requireIntact } from './intact.ts';
import { eventsIn, textIn } from './journal-events.ts';
import { checkIdentity, differing, rename, storedIdentity, writeIdentity } from './journal-identity.ts';
import { journalSchema } from './journal-schema.ts';
import { gone, sizeOf } from './lost.ts';
import { positioned, type Position } from './position.ts';
import { createTables, storedVersion, upgrade } from './schema.ts';
import { ownerOf, RELEASED, SHARED, statesIn } from './states.ts';

/** What makes a run this run: hashes by what they are of (`configuration`, `data`, `model` …). Threads and paths stay out of it. */
export type Identity = Readonly<Record<string, string>>;

/** Where a task's result belongs. */
type TaskPlace = Place & { readonly round: number; readonly client: string };

/** The record of what the round engine decided and accepted. Every method that writes is one durable transaction. */
export interface Journal {
  /** Notes that a stage begins, with its first shared state. */
  startStage(at: Place, rounds: number, shared: State): void;
  /** Whether the stage was begun; throws where it was begun under another name or with other rounds. */
  hasStage(at: Place, rounds: number): boolean;
  rounds(at: Place): readonly RoundRecord[];
  /** What clients did in one round, in the order written. */
  clients(at: Place, round: number): readonly ClientRecord[];
  traffic(at: Place): ReadonlyMap<string, { readonly up: number; readonly down: number }>;
  shared(at: Place): State;
  /** From the latest stage up to this one in which the client took part; undefined where that left nothing (null or {}), or there is none. */
  privateState(at: Place, client: string): State | undefined;
  /** Keeps a task's new private state until its update is accepted: nobody reads it before. Not durable by itself. */
  keep(at: TaskPlace, mine: State): void;
  /** Lets go of everything kept and not adopted, of tasks whose round never ended. */
  forgetKept(at: Place): void;
  /** A client's work in a stage that sends nothing: its private state is adopted. */
  commitClient(at: Place, round: number, client: ClientRecord): void;
  /** A round: the shared state (unless unchanged), what every client did, and the participants' private states, all or nothing. */
  commitRound(at: Place, round: RoundRecord, clients: readonly ClientRecord[], shared?: State): void;
  /** Who was drawn for a round, where chance decides anew in each process: kept before anybody is asked. */
  noteDraw(at: Place, round: number, clients: readonly string[]): void;
  drawn(at: Place, round: number): readonly string[] | undefined;
  /**
   * The sum of a round with its noise, before anything is made of it, with what every client did and the participants' private
   * states: from here on the round is no longer computed, only finished. The next one's takes its place.
   */
  release(at: Place, round: number, released: Released): void;
  /** Of an unfinished round or of the last one; undefined where nothing was released in it. */
  released(at: Place, round: number): Released | undefined;
  /** A round that failed; it will be computed again. */
  noteFailure(at: Place, round: number, reason: string, leftOut: RoundRecord['leftOut']): void;
  /** A result of the run's own, e.g. an evaluation, so that it is not computed again; replaces an earlier one of that name. */
  record(name: string, value: unknown): void;
  recorded(name: string): unknown;
  /** Writes a finished stage to a file of its own, with plain data beside it, for other journals to take. */
  putAside(at: Place, path: string, measured: unknown): void;
  /** Takes a stage that was put aside as the beginning of a stage of so many rounds, or as all of it. Gives its own rounds and the data beside it. */
  take(at: Place, rounds: number, path: string): { readonly rounds: number; readonly measured: unknown };
  /** Notes what happened, for people; what is accepted notes itself. Durable as a transaction is. */
  audit(lines: readonly AuditEntry[], lazily?: 'lazily'): void;
  /** Lines of the audit in order, behind the one with the number `after`, at most `most`. */
  auditLines(after?: number, most?: number): readonly ChainedLine[];
  /** Whether each line of the audit follows from the one before it; the first call reads all of them. */
  auditChain(): AuditChain;
  /** How far it is durable. */
  position(): Position;
  /** A consistent copy of the journal in a new file, which says of itself that it is one. */
  copyTo(path: string): void;
  /** When this journal was copied from a run that may have gone on since, ISO 8601; undefined where it is the run's own. */
  copied(): string | undefined;
  close(): void;
}

/** A sum that is shown with noise, what it cost, and who it came from (their private states are adopted, those left out not). */
export interface Released {
  readonly combined: CombinedSum;
  readonly privacy: RoundPrivacy;
  readonly clients: readonly ClientRecord[];
}

/** The record of a copy's time. */
const COPIED = 'copied';

export interface JournalOptions {
  /** `journal.sqlite` of the run's folder. */
  readonly path: string;
  readonly identity: Identity;
  /** The same run as an earlier fedlora named it; it takes the present name. */
  readonly former?: Identity;
  /** Whether to go on with a run that is there. Without it a journal with contents is refused. */
  readonly resume: boolean;
  /** Whether what lies beside it says that it was begun. Then none, or an empty one, is a `JournalFailure`. */
  readonly begun?: boolean;
  /** For tests: stands between the journal and the database. */
  readonly open?: (path: string) => Database;
}

/**
 * Opens a run's journal, or begins one. Throws UserError where the file is of another run (naming what differs), holds a
 * run and `resume` is not asked for, is in use, or was written by a newer fedlora; `JournalFailure` where it is damaged or cannot be
 * written. An older one is brought to the present tables, and a copy of it kept.
 */
export function openJournal(options: JournalOptions): Journal {
  const { path, identity, former, resume, begun = false, open = openDatabase } = options;
  const there = sizeOf(path) > 0;
  // Before it is opened: SQLite would remove the log of a file that is not there.
  if (begun && !there) throw gone(path);
  const database = open(path);
  try {
    const known = there && database.all(`select name from sqlite_master where name = 'identity'`).length > 0;
    if (begun && !known) throw gone(path);
    if (known) {
      storedVersion(path, database, journalSchema);
      requireIntact(path, database);
      const named = storedIdentity(database);
      const renamed =
        former !== undefined && differing(named, former).length === 0 && differing(named, identity).length > 0;
      checkIdentity(path, named, renamed ? former : identity, resume);
      upgrade(path, database, journalSchema);
      if (renamed) rename(database, identity);
    } else begin(database, identity);
    return journalOver(database, path);
  } catch (error) {
    database.close();
    throw error;
  }
}

function begin(database: Database, identity: Identity): void {
  database.transaction(() => {
    createTables(database, journalSchema);
    writeIdentity(database, identity);
  });
}

function journalOver(opened: Database, path: string): Journal {
  const { database, position } = positioned(opened);
  let chain: AuditChain | undefined;
  const { write: event, read: events, traffic } = eventsIn(database);
  const recorded: Journal['recorded'] = (name) => {
    const [row] = database.all('select json from records where name = ?', name);
    return row && (JSON.parse(textIn(row, 'json')) as unknown);
  };

  const states = statesIn(database, path);
  const audit = auditIn(database);
  const where = (at: Place, round: number): string => `${at.method} · ${at.stage}, round ${round + 1}`;

  return {
    startStage(at, rounds, shared) {
      const encoded = states.encode(shared);
      database.transaction(() => {
        event(at, 0, 'stage', '', { name: at.stage, rounds });
        states.write(at, SHARED, -1, encoded);
        states.adopt(at, SHARED, -1);
      });
    },
    hasStage(at, rounds) {
      const begun = events(at, 'stage')[0] as { name: string; rounds: number } | undefined;
      if (begun && (begun.name !== at.stage || begun.rounds !== rounds)) {
        throw new UserError(
          `${path} belongs to another run: stage ${at.stageIndex + 1} of ${at.method} was “${begun.name}” with ${begun.rounds} round(s), ` +
            `and now is “${at.stage}” with ${rounds}. Choose another output folder, or give the same methods.`,
        );
      }
      return begun !== undefined;
    },
    rounds: (at) => events(at, 'round') as readonly RoundRecord[],
    clients: (at, round) => events(at, 'client', round) as readonly ClientRecord[],
    traffic,
    shared(at) {
      const shared = states.read(at, SHARED);
      if (shared === undefined) throw new Error(`stage ${at.stageIndex + 1} of ${at.method} has not begun`);
      return shared;
    },
    privateState(at, client) {
      const latest = states.latest(at, ownerOf(client));
      const state = latest && states.read(latest, ownerOf(client));
      return state === undefined || isNothing(state) ? undefined : state;
    },
    keep(at, mine) {
      const encoded = states.encode(mine);
      database.transaction(() => states.write(at, ownerOf(at.client), at.round, encoded), 'lazily');
    },
    forgetKept: (at) => database.transaction(() => states.dropUnadopted(at)),
    commitClient: (at, round, client) =>
      database.transaction(() => {
        event(at, round, 'client', client.client, client);
        states.adopt(at, ownerOf(client.client), round);
      }),
    commitRound(at, round, clients, shared) {
      const encoded = shared === undefined ? undefined : states.encode(shared);
      database.transaction(() => {
        for (const client of clients) event(at, round.round, 'client', client.client, client);
        for (const { client } of round.leftOut) states.drop(at, ownerOf(client), round.round);
        for (const client of round.participants) states.adopt(at, ownerOf(client), round.round);
        if (encoded) {
          states.write(at, SHARED, round.round, encoded);
          states.adopt(at, SHARED, round.round);
        }
        event(at, round.round, 'round', '', round);
        const detail = where(at, round.round);
        audit.write([
          ...round.participants.map((client) => ({ what: 'accepted', client, detail })),
          ...round.leftOut.map(({ client, reason }) => ({ what: 'left out', client, detail: `${detail}: ${reason}` })),
        ]);
      });
    },
    noteDraw: (at, round, clients) => database.transaction(() => event(at, round, 'draw', '', clients)),
    drawn: (at, round) => events(at, 'draw', round)[0] as readonly string[] | undefined,
    release(at, round, { combined: { sum, weight, clients: count }, privacy, clients }) {
      const encoded = states.encode({ sum, weight, clients: count });
      database.transaction(() => {
        for (const client of clients) {
          event(at, round, 'client', client.client, client);
          if (client.leftOut === undefined) states.adopt(at, ownerOf(client.client), round);
          else states.drop(at, ownerOf(client.client), round);
        }
        states.write(at, RELEASED, round, encoded);
        states.adopt(at, RELEASED, round);
        event(at, round, 'release', '', privacy);
      });
    },
    released(at, round) {
      const [privacy] = events(at, 'release', round) as readonly RoundPrivacy[];
      if (privacy === undefined) return undefined;
      const { sum, weight, clients } = states.read(at, RELEASED) as Omit<CombinedSum, 'kind'>;
      const combined = { kind: 'sum', sum, weight, clients } as const;
      return { combined, privacy, clients: events(at, 'client', round) as readonly ClientRecord[] };
    },
    noteFailure: (at, round, reason, leftOut) =>
      database.transaction(() => event(at, round, 'failed round', '', { reason, leftOut })),
    record: (name, value) =>
      database.transaction(() =>
        database.run('insert or replace into records values (?, ?)', name, JSON.stringify(value)),
      ),
    recorded,
    putAside: (at, path, measured) => putAside(database, at, path, events(at, 'round').length, measured),
    take(at, rounds, path) {
      let taken: ReturnType<Journal['take']> | undefined;
      database.transaction(() => {
        taken = takeFrom(path, database, at, () => event(at, 0, 'stage', '', { name: at.stage, rounds }));
      });
      return taken!;
    },
    audit: (lines, lazily) => database.transaction(() => audit.write(lines), lazily),
    auditLines: (after = 0, most = Number.MAX_SAFE_INTEGER) => audit.read(after, most),
    auditChain: () =>
      (chain = chain === undefined ? audit.chain() : chained(chain, audit.read(chain.lines, Number.MAX_SAFE_INTEGER))),
    position,
    copyTo(path) {
      const time = new Date().toISOString();
      database.copyTo(path);
      const copy = openDatabase(path);
      try {
        copy.transaction(() => copy.run('insert or replace into records values (?, ?)', COPIED, JSON.stringify(time)));
      } finally {
        copy.close();
      }
    },
    copied: () => recorded(COPIED) as string | undefined,
    close: () => database.close(),
  };
}
