import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../../../formats/files/atomic.ts';
import { isNothing, type State } from '../../../tensor/state.ts';
import type { ClientRecord, Place } from '../../events.ts';
import { openJournal, type Identity } from '../../journal.ts';
import type { UpdateMessage } from '../protocol.ts';
import { digestOf } from './api.ts';

/** Work that is done and not yet known to be accepted or refused. */
export interface Undecided {
  readonly id: string;
  readonly place: Place;
  readonly round: number;
  readonly message: UpdateMessage;
}

/** What a client keeps on its own disk: its private states, work whose outcome is open, and what the server sent once and for all. */
export interface ClientState {
  undecided(): readonly Undecided[];
  /** From the latest stage in which this client's work was accepted. */
  privateState(at: Place): State | undefined;
  /** Keeps finished work, durable on return; nobody reads its private state before `accept`. */
  keep(work: Undecided, payload: Uint8Array | undefined, mine: State): Promise<void>;
  payload(work: Undecided): Promise<Uint8Array | undefined>;
  /** The server has counted it: the private state moves. */
  accept(work: Undecided): Promise<void>;
  /** It was not counted: nothing moves. */
  drop(work: Undecided): Promise<void>;
  /** A payload kept from an earlier task; undefined where it is not there or damaged. */
  frozen(digest: string): Promise<Uint8Array | undefined>;
  keepFrozen(digest: string, bytes: Uint8Array): Promise<void>;
  close(): void;
}

const UNDECIDED = 'undecided';

/** Opens a client's folder for one run. Throws UserError where its identity was another (naming what differs), or it is in use. */
export async function openClientState(folder: string, client: string, identity: Identity): Promise<ClientState> {
  await mkdir(join(folder, 'payloads'), { recursive: true });
  const journal = openJournal({
    path: join(folder, 'journal.sqlite'),
    identity: { ...identity, client },
    resume: true,
  });
  const file = (digest: string): string => join(folder, 'payloads', digest);
  const undecided = (): readonly Undecided[] => (journal.recorded(UNDECIDED) as Undecided[] | undefined) ?? [];
  const without = (id: string): Undecided[] => undecided().filter((work) => work.id !== id);
  const read = async (digest: string): Promise<Uint8Array | undefined> => {
    const bytes = await readFile(file(digest)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    return bytes !== undefined && digestOf(bytes) === digest ? bytes : undefined;
  };
  async function forget({ id, message }: Undecided): Promise<void> {
    journal.record(UNDECIDED, without(id));
    if (message.digest !== null) await rm(file(message.digest), { force: true });
  }
  return {
    undecided,
    privateState: (at) => journal.privateState(at, client),
    async keep(work, payload, mine) {
      const { place, round, message } = work;
      if (payload !== undefined && message.digest !== null) await writeAtomically(file(message.digest), payload);
      const before = journal.privateState(place, client);
      if (before !== undefined || !isNothing(mine)) journal.keep({ ...place, round, client }, mine);
      journal.record(UNDECIDED, [...without(work.id), work]);
    },
    payload: async ({ message }) => (message.digest === null ? undefined : read(message.digest)),
    async accept(work) {
      journal.commitClient(work.place, work.round, recordOf(client, work));
      await forget(work);
    },
    async drop(work) {
      journal.forgetKept(work.place);
      await forget(work);
    },
    frozen: read,
    keepFrozen: (digest, bytes) => writeAtomically(file(digest), bytes),
    close: () => journal.close(),
  };
}

function recordOf(client: string, { message }: Undecided): ClientRecord {
  const { tokens, processed, lossSum } = message.totals;
  const loss = tokens > 0 ? lossSum / tokens : null;
  return { client, tokens, processed, loss, up: 0, down: 0, seconds: message.seconds };
}
