import type { Stage } from '../methods/stage.ts';
import type { Place, RoundRecord, StageResult } from './events.ts';
import { atServer, type Federation } from './federation.ts';

/** A finished stage as the journal has it: the same for a run in one go and a resumed one. Holds no tensors. */
export function stageResult(run: Federation, stage: Stage, at: Place): StageResult {
  const { journal } = run;
  const rounds = journal.rounds(at);
  const total = (of: 'tokens' | 'processed' | 'seconds' | 'clientSeconds'): number =>
    rounds.reduce((sum, record) => sum + record[of], 0);
  return {
    ...at,
    rounds,
    // The server's own participant sends nothing anywhere.
    traffic: new Map([...journal.traffic(at)].filter(([client]) => client !== atServer(run, stage))),
    leftOut: rounds.flatMap(({ round, leftOut }) => leftOut.map((entry) => ({ round, ...entry }))),
    tokens: total('tokens'),
    processed: total('processed'),
    seconds: total('seconds'),
    clientSeconds: total('clientSeconds'),
    ...highest(rounds),
    get shared() {
      return journal.shared(at);
    },
    models: {
      get global() {
        return stage.models(journal.shared(at));
      },
      personal(client) {
        const mine = journal.privateState(at, client);
        return mine === undefined ? undefined : stage.models(journal.shared(at), mine);
      },
    },
  };
}

function highest(rounds: readonly RoundRecord[]): { readonly peakMemory?: number } {
  const peaks = rounds.flatMap(({ peakMemory }) => (peakMemory === undefined ? [] : [peakMemory]));
  return rounds.length > 0 && peaks.length === rounds.length ? { peakMemory: Math.max(...peaks) } : {};
}
