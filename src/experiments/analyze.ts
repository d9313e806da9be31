import type { RunConfig } from '../config/schema.ts';
import type { LoadedData } from '../data/load.ts';
import type { ClientData } from '../data/types.ts';
import { Interrupted, UserError } from '../errors.ts';
import type { Checking } from '../formats/files/digest.ts';
import { writeAdapter } from '../formats/files/peft.ts';
import type { Adapter } from '../lora/adapter.ts';
import { factors } from '../lora/factors.ts';
import { initAdapter } from '../lora/init.ts';
import { times } from '../methods/local-only.ts';
import { projectionsOf } from '../models/weights.ts';
import { trainSettings } from '../run/methods.ts';
import { modelDigest } from '../run/model-digest.ts';
import { threadsOf } from '../run/environment.ts';
import {
  dataDigest,
  engineOf,
  layoutOf,
  locate,
  openData,
  openModel,
  type Fetching,
  type OpenModel,
} from '../run/subject.ts';
import type { Engine } from '../runtime/engine.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { clientKit } from '../train/client-kit.ts';
import type { Progress } from '../train/kit.ts';
import { NonFinite } from '../train/non-finite.ts';
import { stepsOf, training, type TrainSettings } from '../train/settings.ts';
import { openAnalysis, writeSensitivity, type ClientResult } from './analysis-folder.ts';
import { checkpointStep } from './checkpoint.ts';
import { moduleWithoutB } from './sensitivity.ts';
import { clientChanges, sensitivityOf, type AnalysedClient, type Sensitivity } from './sensitivity-result.ts';

export interface AnalyzeOptions {
  /** The output folder: new, empty, or with `resume` of this very analysis. */
  readonly out: string;
  readonly resume?: boolean;
  /** Optimizer steps of each client; default: the work of all the configuration's rounds. */
  readonly steps?: number;
  /** Share of a client's training after which the checkpoint is taken. Default 0.1, as in the paper. */
  readonly at?: number;
  readonly signal?: AbortSignal;
}

export type AnalyzeEvent =
  | Fetching
  | Checking
  | {
      readonly kind: 'opened';
      readonly model: string;
      readonly data: string;
      /** Each client's steps, and after which its checkpoint is taken. */
      readonly clients: readonly Pick<AnalysedClient, 'client' | 'steps' | 'checkpoint'>[];
      readonly modules: number;
    }
  | { readonly kind: 'progress'; readonly client: string; readonly progress: Progress }
  | { readonly kind: 'client done'; readonly client: string; readonly known: boolean; readonly result: ClientResult };

/**
 * The paper's sensitivity study: every client fine-tunes A and B of a fresh LoRA on its own rows, alone; what is compared
 * is its checkpoint after a tenth of the steps with its end. A client that is done is not trained again. Throws UserError
 * for mistakes in what was given, `Interrupted` once `signal` is aborted.
 */
export async function* analyze(
  config: RunConfig,
  options: AnalyzeOptions,
): AsyncGenerator<AnalyzeEvent, { readonly result: Sensitivity; readonly report: string }> {
  const { at = 0.1, signal = new AbortController().signal } = options;
  const train = lengthOf(config, options.steps);
  const model = await openModel(yield* locate('model', config.model, signal), config.model.hub);
  const initial = initAdapter(layoutOf(model, config.lora), config.seed);
  const data = await openData(config, yield* locate('dataset', config.data, signal), model, signal);
  const planned = data.clients.map(({ id, train: rows }) => {
    const steps = stepsOf(train.length, rows.length, train);
    return { client: id, steps, checkpoint: checkpointStep(at, steps, id) };
  });
  const folder = await openAnalysis(
    options.out,
    { settings: settingsOf(config, train, at), model: yield* modelDigest(model, signal), data: dataDigest(data) },
    data.clients.map(({ id }) => id),
    options.resume ?? false,
  );
  const done = await folder.finished();
  if (done !== undefined) return { result: done, report: folder.report };
  yield {
    kind: 'opened',
    model: model.name,
    data: data.name,
    clients: planned,
    modules: initial.layout.modules.length,
  };

  const results = new Map<string, ClientResult>();
  let engine: Engine | undefined;
  try {
    for (const [i, client] of data.clients.entries()) {
      const { id } = client;
      const known = await folder.client(id);
      let result = known;
      if (result === undefined) {
        engine ??= await engineOf(model, initial.layout, config.runtime);
        const work = { client, engine, initial, train, seed: config.seed, signal, checkpoint: planned[i]!.checkpoint };
        const trained = yield* trainClient(work);
        if (!('failed' in trained)) {
          const about = { baseModel: config.model.hub ?? model.folder, projections: projectionsOf(model.config) };
          await writeAdapter(folder.adapter(id, 'checkpoint'), trained.from, about);
          await writeAdapter(folder.adapter(id, 'end'), trained.to, about);
        }
        result =
          'failed' in trained
            ? trained
            : { about: trained.about, changes: clientChanges(id, trained.from, trained.to) };
        await folder.keep(id, result);
      }
      results.set(id, result);
      yield { kind: 'client done', client: id, known: known !== undefined, result };
    }
  } finally {
    await engine?.close();
  }
  const result = summary(config, { model, data, train, at, started: folder.started }, results, initial);
  await writeSensitivity(folder.path, result);
  return { result, report: folder.report };
}

/** The configuration's training, as long as all its rounds together, or so many steps. */
function lengthOf(config: RunConfig, steps: number | undefined): TrainSettings {
  const { rounds } = config;
  // The end is the last step: the best on validation may lie before the checkpoint.
  const settings = { ...trainSettings(config.train), keepBest: undefined };
  const share = rounds.sampling === 'all' ? 1 : rounds.fraction;
  return { ...settings, length: steps === undefined ? times(settings.length, rounds.count * share) : { steps } };
}

/** What makes an analysis this one: not where its inputs lie nor how fast they are computed. */
function settingsOf({ data, clients, lora, seed }: RunConfig, train: TrainSettings, at: number): object {
  const { path: _, ...read } = data;
  const { file: __, ...dealt } = clients;
  const { keepBest: ___, ...trained } = train;
  return { data: read, clients: dealt, lora, train: trained, seed, at };
}

interface Work {
  readonly client: ClientData;
  readonly engine: Engine;
  readonly initial: Adapter;
  readonly train: TrainSettings;
  readonly seed: number;
  readonly checkpoint: number;
  readonly signal: AbortSignal;
}

/** Trains one client to its end, keeping its state at the checkpoint. A loss that is not finite ends this client's training only. */
async function* trainClient(
  work: Work,
): AsyncGenerator<
  AnalyzeEvent,
  { readonly about: AnalysedClient; readonly from: Adapter; readonly to: Adapter } | { readonly failed: string }
> {
  const { client, engine, initial, train, seed, checkpoint, signal } = work;
  const { layout } = initial;
  const began = performance.now();
  // The names of `local-only`: with the same work this is its training, bit for bit.
  const kit = clientKit({ client, engine, seed, stage: 'local', round: 0, rounds: 1, signal });
  const parametrisation = factors();
  const losses: { readonly sum: number; readonly tokens: number }[] = [];
  let from: Tensors | undefined;
  try {
    const steps = kit.train({
      from: initial,
      parametrisation,
      ...training(train, kit),
      afterStep(params, step) {
        if (step === checkpoint - 1) from = requireB({ layout, factors: params }, client.id, checkpoint);
        return params;
      },
    });
    for (;;) {
      const next = await steps.next();
      if (!next.done) {
        const { loss, tokens } = next.value;
        losses.push({ sum: loss * tokens, tokens });
        yield { kind: 'progress', client: client.id, progress: next.value };
        continue;
      }
      const about = {
        client: client.id,
        rows: kit.examples,
        steps: next.value.steps,
        checkpoint,
        tokens: next.value.tokens,
        lossFirst: meanLoss(losses.slice(0, checkpoint)),
        lossLast: meanLoss(losses.slice(-checkpoint)),
        seconds: (performance.now() - began) / 1000,
      };
      return { about, from: { layout, factors: from! }, to: next.value.adapter };
    }
  } catch (error) {
    if (signal.aborted) throw new Interrupted('stopped on request; the analysis can be resumed', { cause: error });
    if (error instanceof NonFinite) return { failed: error.message };
    throw error;
  }
}

function requireB(adapter: Adapter, client: string, step: number): Tensors {
  const still = moduleWithoutB(adapter);
  if (still !== undefined) {
    throw new UserError(
      `B of ${still.name} is still 0 at ${client}'s checkpoint after step ${step}, so it has no direction to compare with: ` +
        'a later checkpoint (--at), more steps (--steps) or no train.warmup',
    );
  }
  return adapter.factors;
}

const meanLoss = (losses: readonly { readonly sum: number; readonly tokens: number }[]): number =>
  losses.reduce((sum, loss) => sum + loss.sum, 0) / losses.reduce((sum, loss) => sum + loss.tokens, 0);

function summary(
  config: RunConfig,
  run: {
    readonly model: OpenModel;
    readonly data: LoadedData;
    readonly train: TrainSettings;
    readonly at: number;
    readonly started: string;
  },
  results: ReadonlyMap<string, ClientResult>,
  { layout }: Adapter,
): Sensitivity {
  const { model, data, train, at, started } = run;
  const done = [...results.values()].flatMap((result) => ('failed' in result ? [] : [result]));
  const leftOut = [...results].flatMap(([client, result]) =>
    'failed' in result ? [{ client, reason: result.failed }] : [],
  );
  if (done.length === 0) {
    throw new UserError(`no client could be trained: ${leftOut[0]?.client}: ${leftOut[0]?.reason}`);
  }
  const { rate, schedule, batchSize, accumulate } = train;
  return sensitivityOf(
    {
      started,
      seconds: done.reduce((sum, { about }) => sum + about.seconds, 0),
      source: {
        kind: 'training',
        model: model.name,
        parameters: model.parameters,
        data: data.name,
        partition: data.partition,
        at,
        rate,
        schedule,
        batchSize,
        accumulate,
        seed: config.seed,
        threads: threadsOf(config.runtime),
        clients: done.map(({ about }) => about),
      },
      changes: done.flatMap(({ changes }) => changes),
      leftOut,
    },
    layout,
  );
}
