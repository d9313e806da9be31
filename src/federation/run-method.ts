import type { ClientData } from '../data/types.ts';
import type { Adapter } from '../lora/adapter.ts';
import type { Stage } from '../methods/stage.ts';
import type { Engine } from '../runtime/engine.ts';
import { clientSource, pooled, type ClientSource } from './clients.ts';
import type { EvaluateRound, MethodResult, RoundSettings, RunEvent } from './events.ts';
import { POOLED, PROXY, proxyShared } from './federation.ts';
import type { Journal } from './journal.ts';
import { processParticipant } from './process/participant.ts';
import type { RobustRule } from './robust/rule.ts';
import { runRounds } from './rounds.ts';

export interface MethodRun {
  /** Unique in the run; names what the journal keeps. */
  readonly label: string;
  readonly stages: readonly Stage[];
  readonly initial: Adapter;
  readonly clients: readonly ClientData[] | ClientSource;
  /** The server's own rows: for stages whose participant is `proxy`, or where the method has none, one more participant of every stage that combines. */
  readonly proxy?: ClientData;
  readonly engine: Engine;
  readonly journal: Journal;
  readonly rounds: RoundSettings;
  /** Takes the place of the weighted sum, in stages that add up the updates of clients. Default: none does. */
  readonly robust?: RobustRule;
  readonly seed: number;
  readonly signal?: AbortSignal;
  readonly evaluateRound?: EvaluateRound;
  /** Tasks at a time; the result's bits do not depend on it. Default 1, which is best for one engine. */
  readonly concurrency?: number;
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
