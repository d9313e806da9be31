import { resolve } from 'node:path';
import { checkConfig } from '../config/check.ts';
import type { RunConfig, RunConfigInput } from '../config/schema.ts';
import type { LoadedData } from '../data/load.ts';
import type { ClientData } from '../data/types.ts';
import { Interrupted, UserError } from '../errors.ts';
import { PROXY } from '../federation/federation.ts';
import { runMethod } from '../federation/run-method.ts';
import type { Adapter } from '../lora/adapter.ts';
import { readAdapter } from '../formats/files/peft.ts';
import { initAdapter } from '../lora/init.ts';
import type { Method } from '../methods/method.ts';
import { projectionsOf } from '../models/weights.ts';
import type { Summary } from '../report/summary.ts';
import { writeAdapters } from './adapters.ts';
import { compareMethods } from './compare.ts';
import { evaluation } from './evaluation.ts';
import type { Progress } from './events.ts';
import { FRESH, runFolder, runKey, stateOf, type RunFolder } from './folder.ts';
import { withGuards } from './guards.ts';
import { memoryMeter } from './memory.ts';
import { checkMinimum } from './minimum.ts';
import { forNewClients } from './new-clients.ts';
import { describeFolder, openFolder } from './open-folder.ts';
import { checkRobust, robustOf } from './robust.ts';
import { checkSecure, secureOf } from './secure.ts';
import { runMetrics } from './run-metrics.ts';
import { besideOthers } from './shelf.ts';
import { modelDigest } from './model-digest.ts';
import { knownMethods, layOut, planOf, type LaidOut } from './methods.ts';
import {
  dataDigest,
  engineOf,
  layoutOf,
  locate,
  openData,
  tensorsDigest,
  openModel,
  type OpenModel,
  withFiniteWeights,
} from './subject.ts';
import { summariseClients, summariseData, summariseModel } from './summarise.ts';
import { readSummary } from './summary-schema.ts';

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
  /** Folder in which runs of one sweep leave the stages that others may begin with, and take them from: the same bits. */
  readonly shelf?: string;
  /** Rows that models are scored on. `validation`: for choosing hyper-parameters; the test rows are then not touched. Default: `test`. */
  readonly scoreOn?: 'test' | 'validation';
  /** Whether `report.html` is drawn. Default: true. */
  readonly report?: boolean;
  readonly onEvent?: (event: Progress) => void;
}

/**
 * Runs a configuration to its end and gives its summary, which is also in the output folder with everything else.
 * Throws UserError for mistakes in what was given (before anything is written), `Interrupted` once `signal` is aborted.
 * @example const summary = await run({ model: { path: 'model' }, data: { path: 'rows.jsonl', format: 'jsonl' }, methods: [{ use: 'fedit' }] }, { out: 'runs/first' });
 */
export async function run(config: RunConfigInput, options: RunOptions): Promise<Summary> {
  const events = runEvents(config, options);
  try {
    for (;;) {
      const next = await events.next();
      if (next.done) return next.value;
      options.onEvent?.(next.value);
    }
  } finally {
    // Where a listener throws, the engine and the journal's lock are let go at once.
    await events.return(undefined as never);
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

/** From a configuration to its results, top to bottom. */
async function* wholeRun(
  given: RunConfigInput,
  options: RunOptions,
  signal: AbortSignal,
): AsyncGenerator<Progress, Summary> {
  const known = knownMethods(options.methods);
  const config = checkConfig(given, known);
  const folder = runFolder(resolve(options.out));
  const { state, known: same, formerKey } = await stateOf(folder, config, options.resume ?? false, known);
  if (state === 'finished' && same && options.adapter === undefined) return yield* finished(folder);

  const model = await openModel(yield* locate('model', config.model, signal), config.model.hub);
  const initial = await startOf(model, config, options.adapter);
  const { layout } = initial;
  const laidOut = layOut(config, known, layout);
  const all = await openData(config, yield* locate('dataset', config.data, signal), model, signal);
  const data = options.scoreOn === 'validation' ? onValidation(all) : all;
  const proxy = data.proxy.length > 0;
  checkMinimum(config, data.clients.length, proxy);
  checkRobust(config, laidOut, data.clients.length, proxy);
  checkSecure(config, laidOut, data.clients.length, known, proxy);
  const methods = withGuards(config, laidOut, { clients: data.clients.map(({ id }) => id), proxy, known });
  const identity = {
    configuration: runKey(config),
    model: yield* modelDigest(model, signal),
    data: dataDigest(data),
    start: options.adapter === undefined ? FRESH : tensorsDigest(initial.factors),
  };
  yield {
    kind: 'opened',
    out: folder.path,
    model: summariseModel(model, layout),
    layout,
    data: summariseData(data),
    example: data.shown,
    plan: planOf(methods, config, data.clients.length, proxy),
    resumed: state !== 'fresh',
  };

  const closing: (() => void | Promise<void>)[] = [];
  try {
    const engine = await engineOf(model, layout, config.runtime);
    closing.push(() => engine.close());
    const journal = await openFolder({ config, folder, state, formerKey }, identity);
    closing.push(() => journal.close());
    if (state === 'finished') return yield* finished(folder);
    await describeFolder({ config, folder }, identity);
    const metrics = await runMetrics(folder.metrics, journal);
    closing.push(() => metrics.close());
    const memory = memoryMeter();
    closing.push(memory.close);
    const evaluate = evaluation({ config, engine, data, tokenizer: model.tokenizer, journal, signal });
    const federate = ({ label, stages }: LaidOut): ReturnType<typeof runMethod> =>
      runMethod({
        label,
        stages,
        initial,
        clients: data.clients,
        ...(data.proxy.length > 0 && { proxy: serverRows(data) }),
        engine,
        journal,
        rounds: config.rounds,
        ...robustOf(config),
        ...secureOf(config),
        seed: config.seed,
        signal,
        evaluateRound: evaluate.round,
        peakMemory: memory.lap,
      });
    const events = compareMethods({
      config,
      folder,
      about: { model: summariseModel(model, layout), data: summariseData(data) },
      methods,
      initial,
      federate,
      ...(data.newClients.length > 0 && {
        newClients: {
          clients: summariseClients(data.newClients, data),
          score: evaluate.newClients,
          run: (method, ended) =>
            forNewClients(method, ended, data.newClients, {
              initial,
              engine,
              journal,
              rounds: config.rounds,
              seed: config.seed,
              signal,
            }),
        },
      }),
      journal,
      metrics,
      evaluate: { ...evaluate, base: () => withFiniteWeights(model, () => evaluate.base()) },
      keep: (label, models) => writeAdapters({ config, folder, model, data, signal }, label, models),
      report: options.report ?? true,
    });
    const { shelf } = options;
    if (shelf === undefined) return yield* events;
    return yield* besideOthers({ shelf, config, identity, methods, journal }, events);
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

const serverRows = (data: LoadedData): ClientData => ({
  id: PROXY,
  train: data.proxy,
  validation: [],
  test: [],
  testExamples: [],
});

/** The same data with the validation rows in place of the test rows, which are not there then. */
function onValidation(data: LoadedData): LoadedData {
  const without = data.clients.find(({ validation }) => validation.length === 0);
  if (without) {
    throw new UserError(
      `client “${without.id}” has no validation rows to choose hyper-parameters on: raise clients.split.validation`,
    );
  }
  const clients = data.clients.map((client) => ({ ...client, test: client.validation, testExamples: [] }));
  // What else is for testing: choosing does not look at it.
  return { ...data, clients, newClients: [], heldOut: { rows: [], examples: [] } };
}

/** A run that an earlier process has finished: its summary again. */
async function* finished(folder: RunFolder): AsyncGenerator<Progress, Summary> {
  const summary = await readSummary(folder.summary);
  yield { kind: 'finished', summary, out: folder.path, report: folder.report };
  return summary;
}

/** The adapter from which every method starts. */
async function startOf(model: OpenModel, config: RunConfig, folder: string | undefined): Promise<Adapter> {
  if (folder === undefined) return initAdapter(layoutOf(model, config.lora), config.seed);
  return readAdapter(folder, projectionsOf(model.config));
}
