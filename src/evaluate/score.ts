import { evaluationBatches } from '../data/batches.ts';
import type { ClientData, TokenRow } from '../data/types.ts';
import { keyOfA, keyOfB, type AdapterMix, type LoraLayout } from '../lora/adapter.ts';
import { stack } from '../lora/mix.ts';
import type { ModelScores, PersonalScores, Score } from '../report/summary.ts';
import type { Engine, PackedBatch } from '../runtime/engine.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { exactMatch } from './exact-match.ts';
import type { EvaluationOptions, GenerateSettings } from './options.ts';
import { rouge } from './rouge.ts';
import { addSums, macroOf, noSums, toScore, type Sums } from './sums.ts';
import { questions, testRows, type Question } from './test-rows.ts';

/** A client's test rows as the engine takes them, made once for all models. */
interface Exam {
  readonly id: string;
  readonly batches: readonly PackedBatch[];
  readonly questions: readonly Question[];
}

type Limits = Pick<EvaluationOptions, 'batchSize' | 'signal'>;

async function scoreBatches(
  engine: Engine,
  factors: Tensors,
  batches: readonly PackedBatch[],
  signal: AbortSignal,
): Promise<Sums> {
  let sums = noSums;
  for (const batch of batches) {
    signal.throwIfAborted();
    sums = addSums(sums, { ...noSums, rows: batch.rows });
    if (batch.targets.length === 0) continue;
    const { nll, predicted } = await engine.score(factors, batch);
    let loss = 0;
    let correct = 0;
    for (let i = 0; i < nll.length; i++) {
      loss += nll[i]!;
      if (predicted[i] === batch.targets[i]) correct++;
    }
    sums = addSums(sums, { ...noSums, nll: loss, tokens: nll.length, correct });
  }
  return sums;
}

/** Loss and token accuracy of the model with these factors on some rows, as sums that add over rows and clients. */
export const scoreRows = (engine: Engine, factors: Tensors, rows: readonly TokenRow[], limits: Limits): Promise<Sums> =>
  scoreBatches(engine, factors, evaluationBatches(rows, limits.batchSize), limits.signal);

async function answer(
  engine: Engine,
  factors: Tensors,
  asked: readonly Question[],
  settings: GenerateSettings,
  signal: AbortSignal,
): Promise<Sums> {
  // Asked at once, the engine continues them side by side.
  const texts = await Promise.all(
    asked.map(async ({ prompt }) => {
      signal.throwIfAborted();
      const room = engine.maxLength - prompt.length;
      const options = { maxNewTokens: Math.min(settings.maxNewTokens, room), stop: settings.stop, signal };
      // A prompt that fills the context leaves no room for an answer: the missing prediction counts as "".
      return room > 0 ? settings.decode(await engine.generate(factors, prompt, options)) : '';
    }),
  );
  return asked.reduce((sums, { references }, i) => {
    const text = texts[i]!;
    const exact = exactMatch(text, references);
    return addSums(sums, { ...noSums, generated: 1, exact, rougeL: rouge(text, references).rougeL });
  }, noSums);
}

function examsOf(clients: readonly ClientData[], options: EvaluationOptions): Exam[] {
  return clients.map((client) => {
    const rows = testRows(client, options.seed, options.rows);
    return {
      id: client.id,
      batches: evaluationBatches(rows, options.batchSize),
      questions: options.generate ? questions(client, rows, options.generate.rows, options.seed) : [],
    };
  });
}

async function sit(engine: Engine, factors: Tensors, exam: Exam, options: EvaluationOptions): Promise<Sums> {
  const read = await scoreBatches(engine, factors, exam.batches, options.signal);
  if (options.generate === undefined) return read;
  return addSums(read, await answer(engine, factors, exam.questions, options.generate, options.signal));
}

async function scoreFactors(
  engine: Engine,
  factors: Tensors,
  clients: readonly ClientData[],
  options: EvaluationOptions,
): Promise<ModelScores> {
  let pooled = noSums;
  const scores: [string, Score][] = [];
  for (const exam of examsOf(clients, options)) {
    const sums = await sit(engine, factors, exam, options);
    pooled = addSums(pooled, sums);
    scores.push([exam.id, toScore(sums, `the test rows of client ${exam.id}`)]);
  }
  return {
    micro: toScore(pooled, 'the pooled test rows'),
    macro: macroOf(scores.map(([, score]) => score)),
    clients: Object.fromEntries(scores),
    ...(options.heldOut && { heldOut: await scoreHeldOut(engine, factors, options.heldOut, options) }),
  };
}

/** Rows that are no client's sit the same exam. */
async function scoreHeldOut(
  engine: Engine,
  factors: Tensors,
  { rows, examples }: NonNullable<EvaluationOptions['heldOut']>,
  options: EvaluationOptions,
): Promise<Score> {
  const all = { id: 'global test rows', train: [], validation: [], test: rows, testExamples: examples };
  const [exam] = examsOf([all], options);
  return toScore(await sit(engine, factors, exam!, options), 'the global test rows');
}

/**
 * One model on everybody's test rows: pooled (micro), as the mean over clients (macro), and per client.
 * Greedy answers are scored by exact match and ROUGE-L where `options.generate` is given.
 * @throws the signal's reason when aborted; Error where a client has no labelled test token or the loss is not finite.
 */
export const scoreGlobal = (
  engine: Engine,
  mix: AdapterMix,
  clients: readonly ClientData[],
  options: EvaluationOptions,
): Promise<ModelScores> => scoreFactors(engine, stack(mix), clients, options);

/** The sums of one client's test rows, which add over clients; the base model's where no factors are given. */
export async function sumsOf(
  engine: Engine,
  factors: Tensors | undefined,
  client: ClientData,
  options: EvaluationOptions,
): Promise<Sums> {
  const [exam] = examsOf([client], options);
  return sit(engine, factors ?? zeroFactors(engine.layout), exam!, options);
}

/** The base model, as `scoreGlobal`: factors of rank 1 that are zero. */
export const scoreBase = (
  engine: Engine,
  clients: readonly ClientData[],
  options: EvaluationOptions,
): Promise<ModelScores> => scoreFactors(engine, zeroFactors(engine.layout), clients, options);

function zeroFactors(layout: LoraLayout): Tensors {
  return new Map(
    layout.modules.flatMap((module) => [
      [keyOfA(module.name), { shape: [1, module.inFeatures], data: new Float32Array(module.inFeatures) }],
      [keyOfB(module.name), { shape: [module.outFeatures, 1], data: new Float32Array(module.outFeatures) }],
    ]),
  );
}

/**
 * Every client's personal model on its own test rows, and (unless `options.matrix` is false) on everybody's:
 * each model goes once over each row, and the matrix, the pooled loss and its own score come from the same sums.
 * A client without a personal model has no score, an empty row in the matrix, and no part in the means.
 * @param personal the client's model, or undefined where it has none; asked one at a time, so that only one need be in memory.
 * @returns undefined where no client has a personal model.
 */
export async function scorePersonal(
  engine: Engine,
  personal: (client: string) => AdapterMix | undefined | Promise<AdapterMix | undefined>,
  clients: readonly ClientData[],
  options: EvaluationOptions,
): Promise<PersonalScores | undefined> {
  const exams = examsOf(clients, options);
  const own: [string, Score][] = [];
  const pooled: number[] = [];
  const matrix: number[][] = [];
  for (const mine of exams) {
    const mix = await personal(mine.id);
    const row: number[] = [];
    matrix.push(row);
    if (mix === undefined) continue;
    const factors = stack(mix);
    const ownSums = await sit(engine, factors, mine, options);
    own.push([mine.id, toScore(ownSums, `the test rows of client ${mine.id}`)]);
    if (options.matrix === false) continue;
    let everybody = noSums;
    for (const theirs of exams) {
      const sums = theirs === mine ? ownSums : await scoreBatches(engine, factors, theirs.batches, options.signal);
      everybody = addSums(everybody, sums);
      row.push(toScore(sums, `the test rows of client ${theirs.id}, by the model of ${mine.id}`).loss);
    }
    pooled.push(toScore(everybody).loss);
  }
  if (own.length === 0) return undefined;
  return {
    macro: macroOf(own.map(([, score]) => score)),
    clients: Object.fromEntries(own),
    ...(options.matrix !== false && {
      pooledLoss: pooled.reduce((sum, loss) => sum + loss, 0) / pooled.length,
      matrix,
    }),
  };
}
