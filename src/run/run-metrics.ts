import type { Place, RoundRecord, RunEvent } from '../federation/events.ts';
import type { Journal } from '../federation/journal.ts';
import type { ModelScores } from '../report/summary.ts';
import { baseRecord, stageRecord, type StageScores, type Timed } from './evaluation.ts';
import { openMetrics, type MetricsLine } from './metrics.ts';

/** A run's events as lines of its `metrics.jsonl`. */
export interface RunMetrics {
  tell(event: RunEvent): void;
  base(scores: Timed<{ readonly scores: ModelScores }>): void;
  evaluated(at: Place, scores: Timed<StageScores>): void;
  close(): void;
}

/** Opens a run's metrics where its journal stands: lines of what was not committed go, since it will happen again. */
export async function runMetrics(path: string, journal: Journal): Promise<RunMetrics> {
  const metrics = await openMetrics(path, inJournal(journal));
  const round = ({ method, stage, stageIndex }: Place, record: RoundRecord): void =>
    metrics.once({
      kind: 'round',
      method,
      stage,
      stageIndex,
      round: record.round,
      trainLoss: record.trainLoss,
      ...(record.validationLoss !== undefined && { validationLoss: record.validationLoss }),
      clients: record.participants.length,
      leftOut: record.leftOut.length,
      ...(record.privacy && { epsilon: record.privacy.epsilon }),
      tokens: record.tokens,
      seconds: record.seconds,
      ...(record.peakMemory !== undefined && { peakMemory: record.peakMemory }),
    });
  return {
    tell(event) {
      const { method, stage, stageIndex } = event;
      if (event.kind === 'progress') {
        const { step, steps, loss, tokens, processed } = event.progress;
        const { round: at, client } = event;
        metrics.write({
          kind: 'step',
          method,
          stage,
          stageIndex,
          round: at,
          client,
          step,
          steps,
          loss,
          tokens,
          processed,
        });
      } else if (event.kind === 'round done') round(event, event.record);
      // A kill may have come between a commit and its line.
      else if (event.kind === 'stage started') for (const record of journal.rounds(event)) round(event, record);
      else if (event.kind === 'stage done') for (const record of event.result.rounds) round(event, record);
    },
    base({ scores, seconds }) {
      metrics.once({ kind: 'evaluation', micro: scores.micro.loss, macro: scores.macro.loss, seconds });
    },
    evaluated({ method, stage, stageIndex }, { global, personal, seconds }) {
      const { micro, macro } = global;
      const own = personal && { personal: personal.macro.loss };
      metrics.once({
        kind: 'evaluation',
        method,
        stage,
        stageIndex,
        micro: micro.loss,
        macro: macro.loss,
        ...own,
        seconds,
      });
    },
    close: () => metrics.close(),
  };
}

/** Whether the journal knows what a line tells. */
function inJournal(journal: Journal): (line: MetricsLine) => boolean {
  const rounds = new Map<string, number>();
  const clients = new Map<string, ReadonlySet<string>>();
  const remembered = <T>(of: Map<string, T>, key: string, find: () => T): T => {
    const known = of.get(key) ?? find();
    of.set(key, known);
    return known;
  };
  return (line) => {
    if (line.kind === 'evaluation') {
      const { method, stageIndex } = line;
      return journal.recorded(method === undefined ? baseRecord : stageRecord(method, stageIndex!)) !== undefined;
    }
    const key = JSON.stringify([line.method, line.stageIndex]);
    if (line.round < remembered(rounds, key, () => journal.rounds(line).length)) return true;
    if (line.kind === 'round') return false;
    // In a stage that sends nothing a client's work is committed by itself.
    const committed = (): ReadonlySet<string> => new Set(journal.clients(line, line.round).map(({ client }) => client));
    return remembered(clients, `${key} ${line.round}`, committed).has(line.client);
  };
}
