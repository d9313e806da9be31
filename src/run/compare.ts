import type { RunConfig } from '../config/schema.ts';
import type { LoadedData } from '../data/load.ts';
import type { ClientData } from '../data/types.ts';
import type { Place } from '../federation/events.ts';
import { PROXY } from '../federation/federation.ts';
import type { Journal } from '../federation/journal.ts';
import { runMethod } from '../federation/run-method.ts';
import { robustOf } from './robust.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import type { Adapter } from '../lora/adapter.ts';
import type { MethodSummary, StageSummary, Summary } from '../report/summary.ts';
import type { Engine } from '../runtime/engine.ts';
import { writeAdapters } from './adapters.ts';
import type { Evaluation } from './evaluation.ts';
import type { Progress } from './events.ts';
import { configText, type RunFolder } from './folder.ts';
import type { LaidOut } from './methods.ts';
import type { RunMetrics } from './run-metrics.ts';
import { withFiniteWeights, type OpenModel } from './subject.ts';
import { summariseData, summariseLora, summariseMethod, summariseModel, summariseStage } from './summarise.ts';
import { trainedNumbers } from './trained.ts';
import { version } from './version.ts';

/** Everything that lives as long as the run does. */
export interface Running {
  readonly config: RunConfig;
  readonly folder: RunFolder;
  readonly model: OpenModel;
  readonly data: LoadedData;
  readonly methods: readonly LaidOut[];
  readonly initial: Adapter;
  readonly engine: Engine;
  readonly journal: Journal;
  readonly metrics: RunMetrics;
  readonly evaluate: Evaluation;
  readonly signal: AbortSignal;
}

/** The base model's scores, every method from the same start, the report, and last the summary. */
export async function* compareMethods(running: Running): AsyncGenerator<Progress, Summary> {
  const { config, folder, model, data, methods, initial, journal, metrics, evaluate } = running;
  const started = (journal.recorded('started') as string | undefined) ?? new Date().toISOString();
  journal.record('started', started);
  const base = await withFiniteWeights(model, () => evaluate.base());
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
    model: summariseModel(model, initial.layout),
    lora: summariseLora(initial.layout),
    data: summariseData(data),
    base: base.scores,
    methods: done,
  };
  // Loaded here: plots take longer to load than everything else, and most commands draw none.
  const { renderReport } = await import('../report/html.ts');
  await writeAtomically(folder.report, renderReport(summary, { config: configText(config) }));
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
  const { config, data, initial, engine, journal, metrics, evaluate, signal } = running;
  const { label, stages } = method;
  yield { kind: 'method started', label };
  const events = runMethod({
    label,
    stages,
    initial,
    clients: data.clients,
    ...(data.proxy.length > 0 && { proxy: serverRows(data) }),
    engine,
    journal,
    rounds: config.rounds,
    ...robustOf(config),
    seed: config.seed,
    signal,
    evaluateRound: evaluate.round,
  });
  const summaries: StageSummary[] = [];
  let evaluating = 0;
  for await (const event of events) {
    metrics.tell(event);
    yield event;
    if (event.kind !== 'stage done') continue;
    const { result } = event;
    const scores = await evaluate.stage(result);
    evaluating += scores.seconds;
    metrics.evaluated(result, scores);
    yield { ...placeOf(result), kind: 'stage evaluated', ...scores };
    const trained = await trainedNumbers(stages[result.stageIndex]!, result.shared, data.clients[0]!.id);
    summaries.push(summariseStage(result, scores, trained));
    if (result.stageIndex === stages.length - 1) await writeAdapters(running, label, result.models);
  }
  const summary = summariseMethod(method, summaries);
  yield { kind: 'method done', summary };
  return { summary, evaluating };
}

const placeOf = ({ method, stage, stageIndex }: Place): Place => ({ method, stage, stageIndex });

const serverRows = (data: LoadedData): ClientData => ({
  id: PROXY,
  train: data.proxy,
  validation: [],
  test: [],
  testExamples: [],
});
