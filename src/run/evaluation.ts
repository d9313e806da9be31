import type { RunConfig } from '../config/schema.ts';
import type { LoadedData } from '../data/load.ts';
import type { Tokenizer } from '../data/tokenizer.ts';
import type { EvaluationOptions } from '../evaluate/options.ts';
import { scoreBase, scoreGlobal, scorePersonal, scoreRows } from '../evaluate/score.ts';
import type { EvaluateRound, StageResult } from '../federation/events.ts';
import type { Journal } from '../federation/journal.ts';
import type { AdapterMix } from '../lora/adapter.ts';
import { stack } from '../lora/mix.ts';
import type { ModelScores, NewClientScores, PersonalScores } from '../report/summary.ts';
import type { Engine } from '../runtime/engine.ts';
import { sameBits } from '../tensor/tensors.ts';
import type { ForNewClients } from './new-clients.ts';

export interface StageScores {
  readonly global: ModelScores;
  readonly personal?: PersonalScores;
}

export interface BaseScores {
  readonly scores: ModelScores;
  /** On the rows of clients who take no part, where there are any. */
  readonly newClients?: ModelScores;
}

/** A result, what it took, and whether the journal had it already. */
export type Timed<T> = T & { readonly seconds: number; readonly cached: boolean };

/** Everything a run measures. What has been measured once is in the journal and is not measured again. */
export interface Evaluation {
  base(): Promise<Timed<BaseScores>>;
  stage(result: StageResult): Promise<Timed<StageScores>>;
  readonly round: EvaluateRound;
}

/** Of a run whose clients are in this process. */
export interface LocalEvaluation extends Evaluation {
  readonly newClients: (label: string, models: ForNewClients) => Promise<Timed<NewClientScores>>;
}

export const baseRecord = 'evaluation: base';
export const stageRecord = (method: string, stageIndex: number): string => `evaluation: ${stageIndex} ${method}`;

/** How a configuration evaluates: what the evaluate room wants to know. */
export function evaluationOptions(
  config: Pick<RunConfig, 'evaluate' | 'seed'>,
  tokenizer: Tokenizer,
  stop: readonly number[],
  signal: AbortSignal,
  heldOut?: LoadedData['heldOut'],
): EvaluationOptions {
  const { batch, generate, maxNewTokens, matrix } = config.evaluate;
  const answers = { rows: generate, maxNewTokens, stop, decode: (ids: Int32Array) => tokenizer.decode(ids) };
  return {
    seed: config.seed,
    batchSize: batch,
    matrix,
    signal,
    ...(heldOut && heldOut.rows.length > 0 && { heldOut }),
    ...(generate > 0 && { generate: answers }),
  };
}

export function evaluation(parts: {
  readonly config: RunConfig;
  readonly engine: Engine;
  readonly data: LoadedData;
  readonly tokenizer: Tokenizer;
  readonly journal: Journal;
  readonly signal: AbortSignal;
}): LocalEvaluation {
  const { config, engine, data, tokenizer, journal, signal } = parts;
  const { batch, every } = config.evaluate;
  const options = evaluationOptions(config, tokenizer, data.template.stop, signal, data.heldOut);
  // New clients are scored each by itself.
  const { heldOut: _, ...apart } = { ...options, matrix: false };
  const validation = data.clients.flatMap((client) => client.validation);

  const once = measuredOnce(journal);

  return {
    base: () =>
      once(baseRecord, async () => ({
        scores: await scoreBase(engine, data.clients, options),
        ...(data.newClients.length > 0 && { newClients: await scoreBase(engine, data.newClients, apart) }),
      })),
    stage: ({ method, stageIndex, models }) =>
      once(stageRecord(method, stageIndex), async () => {
        const global = await scoreGlobal(engine, models.global, data.clients, options);
        // A client whose personal model is the global one has nothing personal to score.
        const own = (client: string): AdapterMix | undefined => differs(models.personal(client), models.global);
        const personal = await scorePersonal(engine, own, data.clients, options);
        return { global, ...(personal && { personal }) };
      }),
    newClients: (label, { global, personal, labelledTokens }) =>
      once(`evaluation: new clients of ${label}`, async () => {
        const own = (client: string): AdapterMix | undefined => differs(personal(client), global);
        const scores = await scorePersonal(engine, own, data.newClients, apart);
        return {
          global: await scoreGlobal(engine, global, data.newClients, apart),
          ...(scores && { personal: scores }),
          labelledTokens,
        };
      }),
    async round(global, { round }, at) {
      if (every === 0 || (round + 1) % every !== 0 || validation.length === 0) return undefined;
      const sums = await scoreRows(engine, stack(global), validation, { batchSize: batch, signal: at });
      return sums.tokens > 0 ? sums.nll / sums.tokens : undefined;
    },
  };
}

/** Measures what the journal has not, and keeps it there. */
export const measuredOnce =
  (journal: Pick<Journal, 'record' | 'recorded'>) =>
  async <T>(name: string, measure: () => Promise<T>): Promise<Timed<T>> => {
    const known = journal.recorded(name) as (T & { readonly seconds: number }) | undefined;
    if (known !== undefined) return { ...known, cached: true };
    const began = performance.now();
    const measured = { ...(await measure()), seconds: (performance.now() - began) / 1000 };
    journal.record(name, measured);
    return { ...measured, cached: false };
  };

/** The personal model, unless it is the global one bit for bit. */
export function differs(personal: AdapterMix | undefined, global: AdapterMix): AdapterMix | undefined {
  const same =
    personal?.length === global.length &&
    personal.every(
      ({ adapter, weight }, i) => weight === global[i]!.weight && sameBits(adapter.factors, global[i]!.adapter.factors),
    );
  return same ? undefined : personal;
}
