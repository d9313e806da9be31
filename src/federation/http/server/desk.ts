import type { Tensors } from '../../../tensor/tensor.ts';
import type { Place } from '../../events.ts';
import type { BlobRef, TaskMessage, Totals } from '../protocol.ts';
import { bell, type Bell } from './bell.ts';
import type { Store } from './store.ts';

/** A task for one client, with what the server will check its answer against. */
export interface Offer {
  readonly message: TaskMessage;
  readonly client: string;
  readonly place: Place | undefined;
  readonly round: number;
  /** Payloads that this client may fetch while the task is open. */
  readonly blobs: readonly BlobRef[];
  /** Names and shapes of the update; empty where nothing is sent. */
  readonly expected: Tensors;
  /** What was broadcast, without what is frozen: updates are relative to it. */
  readonly sent: Tensors;
}

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

/** Where the round engine lays tasks out and clients fetch them. */
export interface Desk {
  /**
   * Offers a task until its result is here, yielding how far the client is. Throws where the client says that it failed, or
   * was not heard from for a lease. What came before, also in an earlier process, is the result at once.
   */
  offer(offer: Offer, signal: AbortSignal): AsyncGenerator<Totals, Result>;
  /** The client's next task, waited for at most so many seconds. */
  next(client: string, seconds: number, signal: AbortSignal): Promise<TaskMessage | undefined>;
  open(id: string): Offer | undefined;
  progress(id: string, totals: Totals): void;
  /** How far the client said it was. */
  totals(id: string): Totals | undefined;
  failed(id: string, reason: string): void;
  finished(id: string, result: Result): void;
  mayFetch(client: string, digest: string): boolean;
  heard(client: string): void;
  lastHeard(client: string): number | undefined;
  /** Until a client is heard of for the first time, or the seconds have passed. */
  arrival(seconds: number, signal: AbortSignal): Promise<void>;
  waiting(): readonly Waiting[];
  /** Wakes everybody who waits for a task: there is something to say. */
  wake(): void;
}

/** @param lease seconds; `now`: milliseconds since 1970. */
export function openDesk(
  store: Pick<Store, 'task' | 'offered' | 'revoked'>,
  lease: number,
  now: () => number = Date.now,
): Desk {
  const entries = new Map<string, Entry>();
  const lastHeard = new Map<string, number>();
  const tasks = bell();
  const arrivals = bell();
  let woken = 0;
  const of = (client: string): Entry[] => [...entries.values()].filter(({ offer }) => offer.client === client);
  const tell = (id: string, told: Told): void => {
    const entry = entries.get(id);
    entry?.told.push(told);
    entry?.bell.ring();
  };

  return {
    async *offer(offer, signal) {
      const { message, client } = offer;
      const before = store.task(message.id);
      if (before?.result !== undefined) return { result: before.result, digest: before.digest };
      if (store.revoked(client) !== undefined) throw new Error(REVOKED);
      store.offered({ id: message.id, client, kind: message.kind, place: offer.place, round: offer.round });
      const entry: Entry = { offer, since: now(), told: [], bell: bell(), totals: undefined };
      entries.set(message.id, entry);
      tasks.ring();
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
          if (silent >= lease) throw new Error(`was not heard from for ${lease} s`);
          await entry.bell.wait(lease - silent, signal);
        }
      } finally {
        entries.delete(message.id);
      }
    },
    async next(client, seconds, signal) {
      const end = now() + seconds * 1000;
      for (;;) {
        const [first] = of(client).filter(({ told }) => told.every(({ kind }) => kind === 'progress'));
        if (first !== undefined || signal.aborted || now() >= end) return first?.offer.message;
        const news = woken;
        await tasks.wait((end - now()) / 1000, signal);
        if (woken > news) return undefined;
      }
    },
    open: (id) => entries.get(id)?.offer,
    progress(id, totals) {
      const entry = entries.get(id);
      if (entry !== undefined) entry.totals = totals;
      tell(id, { kind: 'progress', totals });
    },
    totals: (id) => entries.get(id)?.totals,
    failed: (id, reason) => tell(id, { kind: 'failure', reason }),
    finished: (id, result) => tell(id, { kind: 'result', result }),
    mayFetch: (client, digest) => of(client).some(({ offer }) => offer.blobs.some((blob) => blob.digest === digest)),
    heard(client) {
      lastHeard.set(client, now());
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
    wake() {
      woken++;
      tasks.ring();
    },
  };
}
