import { join } from 'node:path';
import type { RunConfigInput } from '../config/schema.ts';
import { Interrupted } from '../errors.ts';
import type { MethodResult, RunEvent, StageResult } from '../federation/events.ts';
import type { Waiting } from '../federation/http/server/desk.ts';
import { listen } from '../federation/http/server/listener.ts';
import type { FederationServer } from '../federation/http/server/open.ts';
import { runRounds } from '../federation/rounds.ts';
import type { Summary, UnmeasuredSummary } from '../report/summary.ts';
import { writeAdapters } from './adapters.ts';
import { compareMethods } from './compare.ts';
import { isSilent } from './guards.ts';
import type { Progress } from './events.ts';
import { farEvaluation } from './far-evaluation.ts';
import { memoryMeter } from './memory.ts';
import { planOf, type LaidOut } from './methods.ts';
import { robustOf } from './robust.ts';
import { secureOf } from './secure.ts';
import { closeAll, openServed, type Closing, type OpenedRun, type Place } from './serve-open.ts';
import { listenOptions, prepareToServe, type Prepared } from './serve-prepare.ts';
import { beside } from './server-rows.ts';
import { summariseServed } from './served-data.ts';
import { summariseModel } from './summarise.ts';
import { toldWhy } from './told-why.ts';
import { readServedSummary } from './summary-schema.ts';
import { runUnmeasured } from './unmeasured.ts';

export interface ServeOptions {
  /** The data folder: new, empty, or (with `resume`) of this very run. */
  readonly out: string;
  readonly resume?: boolean;
  /** Stops the server; it can be started again with `resume`. */
  readonly signal?: AbortSignal;
  /** Told of errors that are the server's own and stop nothing. */
  readonly onError: (error: unknown) => void;
}

/** What a server tells beside the run itself. */
export type Serving =
  | {
      readonly kind: 'serving';
      readonly url: string;
      /** Of the development certificate, where there is one. */
      readonly fingerprint: string | undefined;
      /** The folder with the tokens that were not used yet, one file for each client. */
      readonly tokens: string;
      /** The folder with the tokens of operators. */
      readonly operators: string;
      /** Since when an operator has the run paused, also before this process; undefined where it is not. Milliseconds since 1970. */
      readonly paused: number | undefined;
      readonly clients: readonly string[];
      /** Whom the run waits for at this moment, and since when. */
      readonly waiting: () => readonly Pick<Waiting, 'client' | 'since' | 'heard'>[];
    }
  | { readonly kind: 'gathered'; readonly missing: readonly string[] };

/**
 * Coordinates a run whose clients come over HTTP: the round engine, journal, summary and report of a simulation. Throws UserError
 * for mistakes in what was given, `Interrupted` once `signal` is aborted; whatever it was, `resume` goes on from there.
 */
export async function* serve(
  given: RunConfigInput,
  options: ServeOptions,
): AsyncGenerator<Progress | Serving, Summary | UnmeasuredSummary> {
  const prepared = yield* prepareToServe(given, options);
  if (prepared.state === 'finished') return yield* alreadyFinished(prepared);
  const listener = await listen([''], {
    ...(await listenOptions(prepared.settings, join(prepared.folder.path, 'server', 'tls'))),
    onError: options.onError,
  });
  const closing: Closing[] = [];
  try {
    return yield* serveRun(prepared, {
      listener,
      name: '',
      closing,
      ...(options.signal && { signal: options.signal }),
    });
  } finally {
    // First who asks, then what would answer.
    await listener.close();
    await closeAll(closing);
  }
}

/** Tells of a run that is finished; there is nothing left to serve. */
export async function* alreadyFinished({
  folder,
}: Pick<Prepared, 'folder'>): AsyncGenerator<Progress, Summary | UnmeasuredSummary> {
  const summary = await readServedSummary(folder.summary);
  yield { kind: 'finished', summary, out: folder.path, report: folder.report };
  return summary;
}

/**
 * Serves a run at its place of a server that listens, to its end. What it opens is pushed to `closing`, for the caller to close:
 * until then clients are told how it ended.
 */
export async function* serveRun(
  prepared: Prepared,
  { signal: asked, ...place }: Place & { readonly signal?: AbortSignal },
): AsyncGenerator<Progress | Serving, Summary | UnmeasuredSummary> {
  const { config, settings } = prepared;
  const stopped = new AbortController();
  const signal = AbortSignal.any([stopped.signal, ...(asked ? [asked] : [])]);
  const opened = await openServed(prepared, place, { signal, stop: () => stopped.abort() });
  const { server } = opened;
  yield {
    kind: 'serving',
    url: server.url,
    fingerprint: place.listener.fingerprint,
    tokens: server.tokens,
    operators: server.operators,
    paused: server.gate.shutSince(),
    clients: prepared.names,
    waiting: opened.joined.waiting,
  };
  try {
    const summary = yield* rounds(prepared, opened, { closing: place.closing, signal });
    await server.end({ how: 'finished', why: 'the run is finished' }, settings.linger, signal);
    return summary;
  } catch (error) {
    if (signal.aborted && !(error instanceof Interrupted)) {
      throw new Interrupted('stopped on request; the run can be resumed', { cause: error });
    }
    // Clients of a server that is only interrupted wait for it to come back.
    if (!signal.aborted)
      await server.end({ how: 'stopped', why: toldWhy(error, isSilent(config)) }, Math.min(10, settings.linger));
    throw error;
  }
}

/** The run itself: waits until its clients are there, and goes through the methods with them. */
async function* rounds(
  { config, settings, folder, state, model, initial, names, methods, own }: Prepared,
  { journal, metrics, rows, server, joined }: OpenedRun,
  { closing, signal }: { readonly closing: Closing[]; readonly signal: AbortSignal },
): AsyncGenerator<Progress | Serving, Summary | UnmeasuredSummary> {
  // A run that has begun goes on with whoever is there.
  if (journal.recorded('started') === undefined) {
    const missing = await joined.all(settings.gather, config.rounds.minimum, signal);
    yield { kind: 'gathered', missing };
  }
  const silent = isSilent(config);
  const { secure } = secureOf(config);
  const data = summariseServed(server.store, names, own);
  const trained = summariseModel(model, initial.layout);
  yield {
    kind: 'opened',
    out: folder.path,
    model: trained,
    layout: initial.layout,
    data,
    example: [],
    plan: planOf(methods, config, names.length, own !== undefined),
    resumed: state !== 'fresh',
  };
  const memory = memoryMeter();
  closing.push(memory.close);
  const evaluate = farEvaluation({ config, server, journal, lease: settings.lease, signal });
  const federate = ({ label, stages }: LaidOut): AsyncGenerator<RunEvent, MethodResult> =>
    watched(
      server,
      signal,
      runRounds({
        label,
        stages,
        initial,
        clients: names,
        hasProxy: own !== undefined,
        participant:
          rows === undefined ? server.participant : beside(server.keeping(rows.participant), server.participant),
        journal,
        rounds: config.rounds,
        ...robustOf(config),
        ...(secure && { secure }),
        holdSum: server.holdSum,
        seed: config.seed,
        signal,
        ...(!silent && { evaluateRound: evaluate.round }),
        peakMemory: memory.lap,
        concurrency: names.length + 1,
        early: true,
      }),
    );
  const running = {
    config,
    folder,
    methods,
    initial,
    federate,
    journal,
    metrics,
    // Personal models are with their clients.
    keep: (label: string, models: StageResult['models']) =>
      writeAdapters({ config, folder, model, data: { clients: [] }, signal }, label, models),
  };
  const summary = silent
    ? yield* runUnmeasured({ ...running, model: trained, clients: names, stageDone: evaluate.keepPersonal })
    : yield* compareMethods({ ...running, about: { model: trained, data }, evaluate, report: true });
  const last = methods.map(({ label, stages }) => {
    const stageIndex = stages.length - 1;
    return { method: label, stage: stages[stageIndex]!.name, stageIndex };
  });
  await evaluate.late(last);
  return summary;
}

/** Payloads of a round's updates go when the round is committed; between rounds an operator may hold the run. */
async function* watched(
  server: FederationServer,
  signal: AbortSignal,
  events: AsyncGenerator<RunEvent, MethodResult>,
): AsyncGenerator<RunEvent, MethodResult> {
  const { gate, monitor } = server;
  await gate.pass(signal);
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value;
    monitor.tell(next.value);
    const ended = next.value.kind === 'round done';
    if (next.value.kind === 'round done') await server.committed(next.value, next.value.round);
    yield next.value;
    if (ended) await gate.pass(signal);
  }
}
