import { Interrupted, UserError } from '../errors.ts';
import type { Waiting } from '../federation/http/server/desk.ts';
import type { FederationServer } from '../federation/http/server/open.ts';
import { steady } from '../federation/http/server/steady.ts';
import type { Operations } from '../federation/http/server/operation.ts';

/** Who has joined and was heard from since the server started. */
export function joining(server: FederationServer, names: readonly string[]) {
  const started = steady();
  let gathering = false;
  const missing = (): string[] => {
    const ready = new Set(server.store.clients().flatMap(({ name, data }) => (data === undefined ? [] : [name])));
    return names.filter((name) => !ready.has(name) || server.desk.lastHeard(name) === undefined);
  };
  const gone = (name: string): boolean => server.store.revoked(name) !== undefined;
  const awaited = (): ReturnType<Operations['gathering']> =>
    gathering
      ? missing().flatMap((client) =>
          gone(client) ? [] : [{ client, since: started, heard: server.desk.lastHeard(client) }],
        )
      : undefined;
  return {
    /** For whom it waits before it has begun; undefined once it has. */
    gathering: awaited,
    waiting: (): readonly Pick<Waiting, 'client' | 'since' | 'heard'>[] => awaited() ?? server.desk.waiting(),
    /** Waits for all; gives who is missing after so many seconds. Throws where too few have joined. */
    async all(seconds: number, minimum: number, signal: AbortSignal): Promise<readonly string[]> {
      const end = steady() + seconds * 1000;
      gathering = true;
      // Whoever was there once need not be looked at again whenever another comes.
      const left = [...names];
      const there = (name: string): boolean =>
        gone(name) || (server.desk.lastHeard(name) !== undefined && server.store.client(name)?.data !== undefined);
      const others = (): boolean => {
        while (left.length > 0 && there(left.at(-1)!)) left.pop();
        return left.length > 0;
      };
      while (others() && steady() < end) {
        await server.desk.arrival((end - steady()) / 1000, signal);
        if (signal.aborted) throw new Interrupted('stopped on request; the run can be resumed');
      }
      gathering = false;
      const absent = missing();
      if (names.length - absent.length >= minimum) return absent;
      throw new UserError(
        `${names.length - absent.length} of ${names.length} clients joined within ${seconds} s (serve.gather), and rounds.minimum is ${minimum}. Missing: ${absent.slice(0, 10).join(', ')}${absent.length > 10 ? ' …' : ''}. With --resume it waits again.`,
      );
    },
  };
}
