import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../../../formats/files/atomic.ts';
import { isNothing, type State } from '../../../tensor/state.ts';
import { samePlace, type ClientRecord, type Place } from '../../events.ts';
import { openJournal, type Identity } from '../../journal.ts';
import type { TaskTotals } from '../../secure/vector.ts';
import type { UpdateMessage } from '../protocol.ts';
import type { SumNoise } from '../../../methods/stage.ts';
import type { PayloadFile } from '../payload-file.ts';
import { wholeFile } from './download.ts';

/** Work that is done and not yet known to be accepted or refused. */
export interface Undecided {
  readonly id: string;
  readonly place: Place;
  readonly round: number;
  readonly message: UpdateMessage;
  /** What stays here until a secure sum asks for it: the update, its weight and totals. */
  readonly kept?: {
    readonly digest: string;
    readonly weight: number;
    readonly totals: TaskTotals;
    /** The noise of its own that goes into the sum with it, and the seed (base64url) that all of it is drawn from: once. */
    readonly noise?: SumNoise & { readonly seed: string };
  };
}

/** A client's private state of a round that the server has its update of, and that is not there any more. */
export interface LostState extends Place {
  readonly round: number;
  /** Whether what the server has follows from it, so that the client cannot take part in this stage without. */
  readonly needed: boolean;
}

/** What a client keeps on its own disk: its private states, work whose outcome is open, and what the server sent once and for all. */
export interface ClientState {
  undecided(): readonly Undecided[];
  /** From the latest stage in which this client's work was accepted. */
  privateState(at: Place): State | undefined;
  /** Whether this folder was there when this round's work was done. */
  knows(at: Place, round: number): boolean;
  /** Private states that this client goes on without, durable on return. */
  without(): readonly LostState[];
  goWithout(lost: readonly LostState[]): void;
  /** Keeps finished work, durable on return; nobody reads its private state before `accept`. */
  keep(work: Undecided, payload: Iterable<Uint8Array> | undefined, mine: State): Promise<void>;
  payload(work: Undecided): Promise<PayloadFile | undefined>;
  /** The server has counted it: the private state moves. */
  accept(work: Undecided): Promise<void>;
  /** It was not counted: nothing moves. */
  drop(work: Undecided): Promise<void>;
  /** Notes that this session of a secure sum is entered, before anything of it is told; false where it was before. */
  enter(session: string): boolean;
  /** Which set of clients was signed to be in a sum with this work, if any was. */
  signed(id: string): string | undefined;
  /** Notes it, durable on return: before the signature is told. */
  sign(id: string, members: string): void;
  /** Notes what goes into this round's sums, durable on return; false where something else was noted before. */
  pledge(at: Place, round: number, digest: string): boolean;
  /** Bytes of payloads that are kept, finished work and what came for later tasks, but for these. */
  held(except?: ReadonlySet<string>): Promise<number>;
  /** Of what came for later tasks only these payloads stay, whole or in part: the server names all that a task needs. */
  forgetOthers(digests: ReadonlySet<string>): Promise<void>;
  /** Where a payload is to be kept for later tasks. */
  frozenAt(digest: string): string;
  /** Where a payload of this task alone belongs; what was left there of earlier ones goes. */
  incoming(digest: string): Promise<string>;
  /** The task's own payload was read. */
  forgetIncoming(): Promise<void>;
  close(): void;
}

const UNDECIDED = 'undecided';
const WITHOUT = 'without';
/** Letters of a payload's name; what follows them says that it is not whole. */
const DIGEST = 64;

/** Opens a client's folder for one run. Throws UserError where its identity was another (naming what differs), or it is in use. */
export async function openClientState(folder: string, client: string, identity: Identity): Promise<ClientState> {
  const payloads = join(folder, 'payloads');
  await mkdir(payloads, { recursive: true });
  const journal = openJournal({
    path: join(folder, 'journal.sqlite'),
    identity: { ...identity, client },
    resume: true,
  });
  const file = (digest: string): string => join(payloads, digest);
  const undecided = (): readonly Undecided[] => (journal.recorded(UNDECIDED) as Undecided[] | undefined) ?? [];
  const others = (id: string): Undecided[] => undecided().filter((work) => work.id !== id);
  const without = (): readonly LostState[] => (journal.recorded(WITHOUT) as LostState[] | undefined) ?? [];
  const own = join(folder, 'incoming');
  const whole = (digest: string): Promise<PayloadFile | undefined> => wholeFile(file(digest), digest);
  const digestIn = ({ message, kept }: Undecided): string | undefined => message.digest ?? kept?.digest;
  async function forget(work: Undecided): Promise<void> {
    journal.record(UNDECIDED, others(work.id));
    const digest = digestIn(work);
    if (digest !== undefined) await rm(file(digest), { force: true });
  }
  return {
    undecided,
    privateState: (at) => journal.privateState(at, client),
    knows: (at, round) =>
      journal.clients(at, round).length > 0 ||
      undecided().some((work) => samePlace(work.place, at) && work.round === round),
    without,
    goWithout: (lost) => journal.record(WITHOUT, lost),
    async keep(work, payload, mine) {
      const { place, round } = work;
      const digest = digestIn(work);
      if (payload !== undefined && digest !== undefined) await writeAtomically(file(digest), payload);
      const before = journal.privateState(place, client);
      if (before !== undefined || !isNothing(mine)) journal.keep({ ...place, round, client }, mine);
      journal.record(UNDECIDED, [...others(work.id), work]);
    },
    async payload(work) {
      const digest = digestIn(work);
      return digest === undefined ? undefined : whole(digest);
    },
    async accept(work) {
      journal.commitClient(work.place, work.round, recordOf(client, work));
      await forget(work);
    },
    async drop(work) {
      journal.forgetKept(work.place);
      await forget(work);
    },
    enter(session) {
      const name = `session ${session}`;
      if (journal.recorded(name) !== undefined) return false;
      journal.record(name, true);
      return true;
    },
    signed: (id) => journal.recorded(`signed ${id}`) as string | undefined,
    sign: (id, members) => journal.record(`signed ${id}`, members),
    pledge({ method, stageIndex }, round, digest) {
      const name = `pledge ${JSON.stringify([method, stageIndex, round])}`;
      const before = journal.recorded(name);
      if (before === undefined) journal.record(name, digest);
      return before === undefined || before === digest;
    },
    async held(except = new Set()) {
      const names = (await readdir(payloads)).filter((name) => !except.has(name.slice(0, DIGEST)));
      const sizes = await Promise.all(names.map(async (name) => (await stat(join(payloads, name))).size));
      return sizes.reduce((sum, size) => sum + size, 0);
    },
    async forgetOthers(digests) {
      const own = new Set(undecided().map(digestIn));
      for (const name of await readdir(payloads)) {
        const digest = name.slice(0, DIGEST);
        if (!digests.has(digest) && !own.has(digest)) await rm(join(payloads, name), { force: true });
      }
    },
    frozenAt: file,
    async incoming(digest) {
      await mkdir(own, { recursive: true });
      for (const name of await readdir(own)) if (!name.startsWith(digest)) await rm(join(own, name), { force: true });
      return join(own, digest);
    },
    forgetIncoming: () => rm(own, { recursive: true, force: true }),
    close: () => journal.close(),
  };
}

function recordOf(client: string, { message }: Undecided): ClientRecord {
  const { tokens, processed, lossSum } = message.totals;
  const loss = tokens > 0 ? lossSum / tokens : null;
  return { client, tokens, processed, loss, up: 0, down: 0, seconds: message.seconds };
}
