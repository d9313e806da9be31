import type { Packing } from '../../../tensor/packed.ts';
import type { Shapes } from '../../../tensor/tensors.ts';
import type { Place } from '../../events.ts';
import type { BlobRef, TaskMessage, Totals } from '../protocol.ts';
import { bell, type Bell } from '../bell.ts';
import { payloadLimit } from '../payload.ts';
import { steady } from './steady.ts';
import type { Store } from './store.ts';
import type { SumOffer } from './sums.ts';

/** A task for one client, with what the server will check its answer against. */
export interface Offer {
  readonly message: TaskMessage;
  readonly client: string;
  readonly place: Place | undefined;
  readonly round: number;
  /** Payloads that this client may fetch while the task is open. */
  readonly blobs: readonly BlobRef[];
  /** Names and shapes of the update; empty where nothing is sent. */
  readonly expected: Shapes;
  /** How it travels, where not as float32. */
  readonly packing?: Packing;
  /** What was broadcast, without what is frozen: updates are relative to it. */
  readonly sent: Shapes;
  /** The update stays with the client, for a secure sum. */
  readonly kept?: true;
  /** A stage of such a sum, which no record has: it ends with this process. */
  readonly sum?: SumOffer;
}

/** Bytes that an offer's upload may have. */
export const payloadLimitOf = ({ expected, packing, kept, sum }: Offer): number =>
  sum?.bytes ?? (expected.size === 0 || kept === true ? 0 : payloadLimit(expected, packing));

/** What came of a task: as the client sent it, already durable. */
export interface Result {
  readonly result: unknown;
  readonly digest: string | undefined;
}

/** Whom the server waits for. Times in milliseconds since 1970. */
export interface Waiting {
  readonly client: string;
  readonly task: TaskMessage;
  readonly since: number;
  readonly heard: number | undefined;
  readonly totals: Totals | undefined;
}

type Told =
  | { readonly kind: 'progress'; readonly totals: Totals }
  | { readonly kind: 'failure'; readonly reason: string }
  | { readonly kind: 'result'; readonly result: Result };

interface Entry {
  readonly offer: Offer;
  readonly since: number;
  readonly told: Told[];
  readonly bell: Bell;
  totals: Totals | undefined;
}

/** Why a client whose key is not valid any more has no part in a round. */
export const REVOKED = 'its key was revoked';

/** Seconds, in each round. */
const GRACE = 5;

/** Where the round engine lays tasks out and clients fetch them. */
export interface Desk {
  /**
   * Offers a task until its result is here, yielding how far the client is. Throws where the client says that it failed, or
   * was not heard from for a lease, or a few seconds where the lease ended before. What came before, also in an earlier process, is the result at once.
   */
  offer(offer: Offer, signal: AbortSignal): AsyncGenerator<Totals, Result>;
  /** The client's next task, waited for at most so many seconds. */
  next(client: string, seconds: number, signal: AbortSignal): Promise<TaskMessage | undefined>;
  open(id: string): Offer | undefined;
  /** Whether a task of the round under way was offered since the server started. */
  reached(id: string): boolean;
  /** Every open task of a client. */
  offers(client: string): readonly Offer[];
  progress(id: string, totals: Totals): void;
  /** How far the client said it was. */
  totals(id: string): Totals | undefined;
  failed(id: string, reason: string): void;
  finished(id: string, result: Result): void;
  mayFetch(client: string, digest: string): boolean;
  heard(client: string): void;
  lastHeard(client: string): number | undefined;
  /** What came of a task is damaged: it is open again, as if nothing had come. */
  forget(id: string): void;
  /** Until a client is heard of for the first time, or the seconds have passed. */
  arrival(seconds: number, signal: AbortSignal): Promise<void>;
  waiting(): readonly Waiting[];
  /** How many tasks are waited for, and since when for the oldest. */
  oldest(): { readonly count: number; readonly since: number } | undefined;
  /** Wakes everybody who waits for a task: there is something to say. */
  wake(): void;
  /** Tells of each new task of a client, and of `wake`, until the function it gives is called. */
  watch(client: string, listener: () => void): () => void;
}

/** @param lease seconds, like `grace`, which a client has to come back in once a lease has ended; `now`: milliseconds since 1970, evenly. */
export function openDesk(
  store: Pick<Store, 'task' | 'offered' | 'revoked' | 'forgetResult'>,
  lease: number,
  now: () => number = steady,
  grace = GRACE,
): Desk {
  const entries = new Map<string, Entry>();
  const byClient = new Map<string, Set<Entry>>();
  const watchers = new Map<string, Set<() => void>>();
  const lastHeard = new Map<string, number>();
  // Who was waited for in vain and has not been heard of since: nobody waits a whole lease for them again.
  const missed = new Set<string>();
  const arrivals = bell();
  let round = '';
  let reached = new Set<string>();
  let woken = 0;
  const of = (client: string): Entry[] => [...(byClient.get(client) ?? [])];
  const first = (client: string): TaskMessage | undefined =>
    of(client).find(({ told }) => told.every(({ kind }) => kind === 'progress'))?.offer.message;
  const watch: Desk['watch'] = (client, listener) => {
    grouped(watchers, client).add(listener);
    return () => ungrouped(watchers, client, listener);
  };
  const tell = (id: string, told: Told): void => {
    const entry = entries.get(id);
    entry?.told.push(told);
    entry?.bell.ring();
  };

  return {
    async *offer(offer, signal) {
      const { message, client } = offer;
      if (message.kind === 'train') {
        const at = JSON.stringify([offer.place, offer.round]);
        if (at !== round) [round, reached] = [at, new Set()];
        reached.add(message.id);
      }
      const before = offer.sum === undefined ? store.task(message.id) : undefined;
      if (before?.result !== undefined) return { result: before.result, digest: before.digest };
      if (store.revoked(client) !== undefined) throw new Error(REVOKED);
      if (message.kind !== 'sum')
        store.offered({ id: message.id, client, kind: message.kind, place: offer.place, round: offer.round });
      const entry: Entry = { offer, since: now(), told: [], bell: bell(), totals: undefined };
      entries.set(message.id, entry);
      grouped(byClient, client).add(entry);
      for (const listener of watchers.get(client) ?? []) listener();
      const withdraw = (): void => {
        if (entries.get(message.id) === entry) entries.delete(message.id);
        ungrouped(byClient, client, entry);
      };
      // At once: what comes after it must not be taken and then not counted.
      signal.addEventListener('abort', withdraw);
      try {
        for (;;) {
          signal.throwIfAborted();
          const told = entry.told.shift();
          if (told?.kind === 'result') return told.result;
          if (told?.kind === 'failure') throw new Error(told.reason);
          if (told?.kind === 'progress') {
            yield told.totals;
            continue;
          }
          const silent = (now() - Math.max(entry.since, lastHeard.get(client) ?? 0)) / 1000;
          const patience = missed.has(client) ? Math.min(lease, grace) : lease;
          if (silent >= patience) {
            missed.add(client);
            throw new Error(
              patience === lease
                ? `was not heard from for ${lease} s`
                : 'was still not heard from since its lease ended',
            );
          }
          await entry.bell.wait(patience - silent, signal);
        }
      } finally {
        signal.removeEventListener('abort', withdraw);
        withdraw();
      }
    },
    async next(client, seconds, signal) {
      const end = now() + seconds * 1000;
      const news = woken;
      const changed = bell();
      const unwatch = watch(client, () => changed.ring());
      try {
        for (;;) {
          const task = first(client);
          if (task !== undefined || woken > news || signal.aborted || now() >= end) return task;
          await changed.wait((end - now()) / 1000, signal);
        }
      } finally {
        unwatch();
      }
    },
    open: (id) => entries.get(id)?.offer,
    reached: (id) => reached.has(id),
    offers: (client) => of(client).map(({ offer }) => offer),
    progress(id, totals) {
      const entry = entries.get(id);
      if (entry !== undefined) entry.totals = totals;
      tell(id, { kind: 'progress', totals });
    },
    totals: (id) => entries.get(id)?.totals,
    failed(id, reason) {
      tell(id, { kind: 'failure', reason });
      // At once: what comes after it is not taken, since the round leaves its client out.
      entries.delete(id);
    },
    finished: (id, result) => tell(id, { kind: 'result', result }),
    forget: (id) => store.forgetResult(id),
    mayFetch: (client, digest) => of(client).some(({ offer }) => offer.blobs.some((blob) => blob.digest === digest)),
    heard(client) {
      lastHeard.set(client, now());
      missed.delete(client);
      arrivals.ring();
    },
    lastHeard: (client) => lastHeard.get(client),
    arrival: (seconds, signal) => arrivals.wait(seconds, signal),
    waiting: () =>
      [...entries.values()].map(({ offer, since, totals }) => ({
        client: offer.client,
        task: offer.message,
        since,
        heard: lastHeard.get(offer.client),
        totals,
      })),
    oldest() {
      // In the order in which they were offered.
      for (const { since } of entries.values()) return { count: entries.size, since };
      return undefined;
    },
    wake() {
      woken++;
      for (const listeners of watchers.values()) for (const listener of listeners) listener();
    },
    watch,
  };
}

function grouped<T>(groups: Map<string, Set<T>>, name: string): Set<T> {
  const found = groups.get(name) ?? new Set<T>();
  groups.set(name, found);
  return found;
}

function ungrouped<T>(groups: Map<string, Set<T>>, name: string, value: T): void {
  const group = groups.get(name);
  group?.delete(value);
  if (group?.size === 0) groups.delete(name);
}
