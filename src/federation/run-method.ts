import type { ClientData } from '../data/types.ts';
import type { Engine } from '../runtime/engine.ts';
import { clientSource, pooled, type ClientSource } from './clients.ts';
import type { MethodResult, RunEvent } from './events.ts';
import { POOLED, PROXY, proxyShared, type Federation } from './federation.ts';
import { processParticipant } from './process/participant.ts';
import { runRounds } from './rounds.ts';

/** A federation whose clients are all in this process. */
export interface MethodRun extends Omit<Federation, 'clients' | 'hasProxy' | 'participant'> {
  readonly clients: readonly ClientData[] | ClientSource;
  /** The server's own rows: for stages whose participant is `proxy`, or where the method has none, one more participant of every stage that combines. */
  readonly proxy?: ClientData;
  readonly engine: Engine;
}

/**
 * Runs a method's stages with every client in this process, or goes on where the journal stands: the same bits either way.
 * A finished stage yields only its `stage done` again. Throws `Interrupted` when `signal` is aborted, and `RoundFailed`
 * where too few updates came; the journal keeps every committed round.
 */
export function runMethod(run: MethodRun): AsyncGenerator<RunEvent, MethodResult> {
  const clients = 'ids' in run.clients ? run.clients : clientSource(run.clients);
  const { engine, journal, seed, proxy } = run;
  const clientData = (client: string): ClientData | Promise<ClientData> => {
    if (client === PROXY && proxy) return proxy;
    if (client !== POOLED || clients.ids.includes(POOLED)) return clients.get(client);
    return pooled(clients, proxyShared(run.stages, proxy !== undefined) ? proxy : undefined);
  };
  return runRounds({
    ...run,
    clients: clients.ids,
    hasProxy: proxy !== undefined,
    participant: processParticipant({ clientData, engine, journal, seed }),
  });
}
