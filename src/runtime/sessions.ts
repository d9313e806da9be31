import type { Feeds, Session } from './session.ts';

/** Compiled graphs by kind, to run. */
export interface Sessions<Kind> {
  run(kind: Kind, feeds: Feeds): Promise<Feeds>;
  close(): Promise<void>;
}

/** Opens each kind's session when it is first needed, once; what failed to open is tried again at the next need. */
export function keptOpen<Kind>(open: (kind: Kind) => Promise<Session>): Sessions<Kind> {
  const sessions = new Map<Kind, Promise<Session>>();
  return {
    async run(kind, feeds) {
      let session = sessions.get(kind);
      if (session === undefined) {
        session = open(kind);
        sessions.set(kind, session);
        session.catch(() => sessions.delete(kind));
      }
      return (await session).run(feeds);
    },
    async close() {
      const opened = await Promise.allSettled(sessions.values());
      sessions.clear();
      for (const result of opened) if (result.status === 'fulfilled') await result.value.close();
    },
  };
}

/**
 * Keeps only the session of the kind last run: for graphs whose sessions hold much memory and that take turns rarely.
 * Runs wait for each other, so that none is closed while it works.
 */
export function lastUsed<Kind>(open: (kind: Kind) => Promise<Session>): Sessions<Kind> {
  let current: { readonly kind: Kind; readonly session: Session } | undefined;
  let before: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = before.then(work, work);
    before = mine.catch(() => undefined);
    return mine;
  };
  const drop = async (): Promise<void> => {
    const old = current;
    current = undefined;
    await old?.session.close();
  };
  return {
    run: (kind, feeds) =>
      inTurn(async () => {
        if (current?.kind !== kind) {
          await drop();
          current = { kind, session: await open(kind) };
        }
        return current.session.run(feeds);
      }),
    close: () => inTurn(drop),
  };
}
