import type { RunConfig } from '../config/schema.ts';
import type { MethodResult, Place, RunEvent, StageResult } from '../federation/events.ts';
import type { Journal } from '../federation/journal.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import type { Adapter } from '../lora/adapter.ts';
import type { ClientSummary, MethodSummary, NewClientScores, StageSummary, Summary } from '../report/summary.ts';
import type { Evaluation, Timed } from './evaluation.ts';
import type { Progress } from './events.ts';
import { configText, type RunFolder } from './folder.ts';
import type { LaidOut } from './methods.ts';
import type { ForNewClients } from './new-clients.ts';
import type { RunMetrics } from './run-metrics.ts';
import { summariseLora, summariseMethod, summariseStage } from './summarise.ts';
import { trainedNumbers } from './trained.ts';
import { version } from './version.ts';

/** Everything that lives as long as the run does, wherever its clients are. */
export interface Running {
  readonly config: RunConfig;
  readonly folder: RunFolder;
  readonly about: Pick<Summary, 'model' | 'data'>;
  readonly methods: readonly LaidOut[];
  readonly initial: Adapter;
  /** Runs a method's rounds with the run's clients, or goes on where the journal stands. */
  readonly federate: (method: LaidOut) => AsyncGenerator<RunEvent, MethodResult>;
  /** Clients who take no part, and what a finished method is to them; absent without any. */
  readonly newClients?: {
    readonly clients: readonly ClientSummary[];
    readonly run: (method: LaidOut, ended: readonly StageResult[]) => AsyncGenerator<RunEvent, ForNewClients>;
    readonly score: (label: string, models: ForNewClients) => Promise<Timed<NewClientScores>>;
  };
  readonly journal: Journal;
  readonly metrics: RunMetrics;
  readonly evaluate: Evaluation;
  /** Keeps a finished method's models, as far as they are here. */
  readonly keep: (label: string, models: StageResult['models']) => Promise<void>;
  /** Whether the report is drawn. */
  readonly report: boolean;
}

/** The base model's scores, every method from the same start, the report, and last the summary. */
export async function* compareMethods(running: Running): AsyncGenerator<Progress, Summary> {
  const { config, folder, about, methods, initial, journal, metrics, evaluate } = running;
  const started = (journal.recorded('started') as string | undefined) ?? new Date().toISOString();
  journal.record('started', started);
  const base = await evaluate.base();
  metrics.base(base);
  yield { kind: 'base evaluated', ...base };

  const done: MethodSummary[] = [];
  let seconds = base.seconds;
  for (const method of methods) {
    const { summary, evaluating } = yield* oneMethod(running, method);
    done.push(summary);
    seconds += summary.seconds + evaluating;
  }

  const summary: Summary = {
    schema: 1,
    fedlora: version,
    seed: config.seed,
    started,
    seconds,
    model: about.model,
    lora: summariseLora(initial.layout),
    data: about.data,
    base: base.scores,
    ...(running.newClients &&
      base.newClients && { newClients: { clients: running.newClients.clients, base: base.newClients } }),
    methods: done,
  };
  if (running.report) {
    // Loaded here: plots take longer to load than everything else, and most commands draw none.
    const { renderReport } = await import('../report/html.ts');
    await writeAtomically(folder.report, renderReport(summary, { config: configText(config) }));
  }
  // Last: a folder with a summary is a finished run.
  await writeAtomically(folder.summary, `${JSON.stringify(summary, undefined, 2)}\n`);
  yield { kind: 'finished', summary, out: folder.path, report: folder.report };
  return summary;
}

/** Runs one method from the initial adapter, measures it after each stage, and writes its adapters. `evaluating`: seconds. */
async function* oneMethod(
  running: Running,
  method: LaidOut,
): AsyncGenerator<Progress, { readonly summary: MethodSummary; readonly evaluating: number }> {
  const { about, federate, metrics, evaluate, keep } = running;
  const { label, stages } = method;
  yield { kind: 'method started', label };
  const summaries: StageSummary[] = [];
  const ended: StageResult[] = [];
  let evaluating = 0;
  for await (const event of federate(method)) {
    metrics.tell(event);
    yield event;
    if (event.kind !== 'stage done') continue;
    const { result } = event;
    const scores = await evaluate.stage(result);
    evaluating += scores.seconds;
    metrics.evaluated(result, scores);
    yield { ...placeOf(result), kind: 'stage evaluated', ...scores };
    const trained = await trainedNumbers(stages[result.stageIndex]!, result.shared, about.data.clients[0]!.id);
    ended.push(result);
    summaries.push(summariseStage(result, scores, trained));
    if (result.stageIndex === stages.length - 1) await keep(label, result.models);
  }
  let newClients: NewClientScores | undefined;
  if (running.newClients) {
    const { seconds, cached: _, ...scores } = yield* scoreNewClients(running, running.newClients, method, ended);
    newClients = scores;
    evaluating += seconds;
  }
  const summary = { ...summariseMethod(method, summaries), ...(newClients && { newClients }) };
  yield { kind: 'method done', summary };
  return { summary, evaluating };
}

/** What the finished method is worth to clients who took no part. */
async function* scoreNewClients(
  { metrics }: Running,
  { run, score }: NonNullable<Running['newClients']>,
  method: LaidOut,
  ended: readonly StageResult[],
): AsyncGenerator<Progress, Timed<NewClientScores>> {
  const events = run(method, ended);
  for (;;) {
    const next = await events.next();
    if (next.done) {
      const scores = await score(method.label, next.value);
      yield { kind: 'new clients evaluated', label: method.label, ...scores };
      return scores;
    }
    metrics.tell(next.value);
    yield next.value;
  }
}

const placeOf = ({ method, stage, stageIndex }: Place): Place => ({ method, stage, stageIndex });
