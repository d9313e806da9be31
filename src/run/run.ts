import { resolve } from 'node:path';
import { checkConfig } from '../config/check.ts';
import type { RunConfig, RunConfigInput } from '../config/schema.ts';
import type { LoadedData } from '../data/load.ts';
import type { ClientData } from '../data/types.ts';
import { Interrupted } from '../errors.ts';
import type { Place } from '../federation/events.ts';
import { PROXY } from '../federation/federation.ts';
import { openJournal, type Journal } from '../federation/journal.ts';
import { runMethod } from '../federation/run-method.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import type { Adapter } from '../lora/adapter.ts';
import { readAdapter } from '../formats/files/peft.ts';
import { initAdapter } from '../lora/init.ts';
import type { Method } from '../methods/method.ts';
import { projectionsOf } from '../models/weights.ts';
import { renderReport } from '../report/html.ts';
import type { MethodSummary, StageSummary, Summary } from '../report/summary.ts';
import type { Engine } from '../runtime/engine.ts';
import { writeAdapters } from './adapters.ts';
import { environment } from './environment.ts';
import { evaluation, type Evaluation } from './evaluation.ts';
import type { Progress } from './events.ts';
import { configText, runFolder, runKey, stateOf, type RunFolder } from './folder.ts';
import { runMetrics, type RunMetrics } from './run-metrics.ts';
import { knownMethods, layOut, planOf, type LaidOut } from './methods.ts';
import {
  dataDigest,
  engineOf,
  layoutOf,
  locate,
  modelDigest,
  openData,
  tensorsDigest,
  openModel,
  type OpenModel,
} from './subject.ts';
import { summariseData, summariseLora, summariseMethod, summariseModel, summariseStage } from './summarise.ts';
import { readSummary } from './summary-schema.ts';
import { trainedNumbers } from './trained.ts';
import { version } from './version.ts';

export interface RunOptions {
  /** The output folder: new, empty, or (with `resume`) of this very run. */
  readonly out: string;
  /** Goes on with an unfinished run. */
  readonly resume?: boolean;
  /** Stops the run after the current step; it can be resumed. */
  readonly signal?: AbortSignal;
  /** Own methods that the configuration may name beside the shipped ones. */
  readonly methods?: readonly Method[];
  /** Folder of a PEFT adapter from which every method starts; the configuration's `lora` section is then not used. Default: a fresh adapter by it. */
  readonly adapter?: string;
  readonly onEvent?: (event: Progress) => void;
}

/**
 * Runs a configuration to its end and gives its summary, which is also in the output folder with everything else.
 * Throws UserError for mistakes in what was given (before anything is written), `Interrupted` once `signal` is aborted.
 * @example const summary = await run({ model: { path: 'model' }, data: { path: 'rows.jsonl', format: 'jsonl' }, methods: [{ use: 'fedit' }] }, { out: 'runs/first' });
 */
export async function run(config: RunConfigInput, options: RunOptions): Promise<Summary> {
  const events = runEvents(config, options);
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value;
    options.onEvent?.(next.value);
  }
}

/** The same as a stream of what happens, ending with the summary. */
export async function* runEvents(given: RunConfigInput, options: RunOptions): AsyncGenerator<Progress, Summary> {
  const signal = options.signal ?? new AbortController().signal;
  try {
    return yield* wholeRun(given, options, signal);
  } catch (error) {
    if (signal.aborted && !(error instanceof Interrupted)) {
      throw new Interrupted('stopped on request; the run can be resumed', { cause: error });
    }
    throw error;
  }
}

/** Everything that lives as long as the run does. */
interface Running {
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

async function* wholeRun(
  given: RunConfigInput,
  options: RunOptions,
  signal: AbortSignal,
): AsyncGenerator<Progress, Summary> {
  const known = knownMethods(options.methods);
  const config = checkConfig(given, known);
  const folder = runFolder(resolve(options.out));
  const state = await stateOf(folder, config, options.resume ?? false);
  if (state === 'finished') {
    const summary = await readSummary(folder.summary);
    yield { kind: 'finished', summary, out: folder.path, report: folder.report };
    return summary;
  }

  const model = await openModel(yield* locate('model', config.model, signal), config.model.hub);
  const initial = await startOf(model, config, options.adapter);
  const { layout } = initial;
  const methods = layOut(config, known, layout);
  const data = await openData(config, yield* locate('dataset', config.data, signal), model, signal);
  yield {
    kind: 'opened',
    out: folder.path,
    model: summariseModel(model, layout),
    layout,
    data: summariseData(data),
    example: data.shown,
    plan: planOf(methods, config, data.clients.length),
    resumed: state === 'unfinished',
  };

  const closing: (() => void | Promise<void>)[] = [];
  try {
    const engine = await engineOf(model, layout, config.runtime);
    closing.push(() => engine.close());
    const identity = {
      configuration: runKey(config),
      model: await modelDigest(model),
      data: dataDigest(data),
      start: options.adapter === undefined ? 'fresh' : tensorsDigest(initial.factors),
    };
    if (state === 'fresh') await writeAtomically(folder.config, configText(config));
    const journal = openJournal({ path: folder.journal, identity, resume: state === 'unfinished' });
    closing.push(() => journal.close());
    await writeAtomically(folder.config, configText(config));
    await writeAtomically(folder.environment, `${JSON.stringify(await environment(config.runtime), undefined, 2)}\n`);
    const metrics = await runMetrics(folder.metrics, journal);
    closing.push(() => metrics.close());
    const evaluate = evaluation({ config, engine, data, tokenizer: model.tokenizer, journal, signal });
    return yield* train({ config, folder, model, data, methods, initial, engine, journal, metrics, evaluate, signal });
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/** The adapter from which every method starts. */
async function startOf(model: OpenModel, config: RunConfig, folder: string | undefined): Promise<Adapter> {
  if (folder === undefined) return initAdapter(layoutOf(model, config.lora), config.seed);
  return readAdapter(folder, projectionsOf(model.config));
}

/** The base model's scores, every method, the report. */
async function* train(running: Running): AsyncGenerator<Progress, Summary> {
  const { config, folder, model, data, methods, initial, journal, metrics, evaluate } = running;
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
    model: summariseModel(model, initial.layout),
    lora: summariseLora(initial.layout),
    data: summariseData(data),
    base: base.scores,
    methods: done,
  };
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
