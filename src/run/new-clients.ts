import type { ClientData } from '../data/types.ts';
import type { RunEvent, StageResult } from '../federation/events.ts';
import { runMethod, type MethodRun } from '../federation/run-method.ts';
import type { AdapterMix } from '../lora/adapter.ts';
import type { Stage } from '../methods/stage.ts';
import type { LaidOut } from './methods.ts';

/** A method's result for clients who took no part in it. */
export interface ForNewClients {
  readonly global: AdapterMix;
  /** After the method's local stages; undefined where it has none, or they failed for this client. */
  readonly personal: (client: string) => AdapterMix | undefined;
  /** Labelled tokens of those stages. */
  readonly labelledTokens: number;
}

/** Names their stages in the journal beside the method's own; no label of a configuration has a slash. */
export const newClientsLabel = (label: string): string => `${label}/new clients`;

/**
 * Runs a finished method's local stages for new clients alone: each begins with what the stage sent at its end and nothing of
 * its own, as `fedlora personalize` does. Nothing of the method moves.
 */
export async function* forNewClients(
  { label, stages }: LaidOut,
  ended: readonly StageResult[],
  clients: readonly ClientData[],
  run: Pick<MethodRun, 'initial' | 'engine' | 'journal' | 'rounds' | 'seed' | 'signal'>,
): AsyncGenerator<RunEvent, ForNewClients> {
  const { shared, models } = ended.at(-1)!;
  const own = stages.flatMap((stage, i): Stage[] =>
    stage.combine === 'none' ? [{ ...stage, start: () => ended[i]!.shared }] : [],
  );
  const global = models.global;
  if (own.length === 0) return { global, personal: () => undefined, labelledTokens: 0 };
  const method = newClientsLabel(label);
  const rounds = { ...run.rounds, minimum: 1 };
  const result = yield* runMethod({ ...run, label: method, stages: own, clients, rounds });
  const at = { method, stage: own.at(-1)!.name, stageIndex: own.length - 1 };
  return {
    global,
    personal(client) {
      const mine = run.journal.privateState(at, client);
      return mine === undefined ? undefined : stages.at(-1)!.models(shared, mine);
    },
    labelledTokens: result.stages.reduce((sum, { tokens }) => sum + tokens, 0),
  };
}
