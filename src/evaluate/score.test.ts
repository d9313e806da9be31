import { describe, expect, it } from 'vitest';
import type { ClientData, TokenRow } from '../data/types.ts';
import { type AdapterMix, keyOfA, keyOfB, type LoraLayout } from '../lora/adapter.ts';
import type { Engine, PackedBatch } from '../runtime/engine.ts';
import type { EvaluationOptions } from './options.ts';
import { scoreBase, scoreGlobal, scorePersonal, scoreRows } from './score.ts';
import { addSums } from './sums.ts';

const vocabulary = 10;
const module = { name: 'm', inFeatures: 1, outFeatures: 1, rank: 1, alpha: 1, scale: 1 };
const layout: LoraLayout = { modules: [module], rslora: false };
const stop = 9;

/** An adapter that makes the next token `token + shift`, with probability `sure`; shift 0 and sure 0.1 is the base: uniform. */
const adapter = (shift: number, sure: number): AdapterMix => [
  {
    weight: 1,
    adapter: {
      layout,
      factors: new Map([
        [keyOfA('m'), { shape: [1, 1], data: Float32Array.of(sure) }],
        [keyOfB('m'), { shape: [1, 1], data: Float32Array.of(shift) }],
      ]),
    },
  },
];

interface Table extends Engine {
  readonly batches: PackedBatch[];
  readonly prompts: number[][];
}

/** A model whose probabilities are known: a lookup by the token before. */
function tableEngine(): Table {
  const batches: PackedBatch[] = [];
  const prompts: number[][] = [];
  const read = (factors: Parameters<Engine['score']>[0]) => {
    const sure = factors.get(keyOfA('m'))!.data[0]!;
    return { shift: factors.get(keyOfB('m'))!.data[0]!, sure: sure === 0 ? 1 / vocabulary : sure };
  };
  return {
    batches,
    prompts,
    layout,
    vocabularySize: vocabulary,
    maxLength: 8,
    async score(factors, batch) {
      batches.push(batch);
      const { shift, sure } = read(factors);
      const predicted = batch.labelled.map((at) => (batch.ids[at]! + shift) % vocabulary);
      const nll = Float32Array.from(predicted, (token, i) =>
        token === batch.targets[i] ? -Math.log(sure) : -Math.log((1 - sure) / (vocabulary - 1)),
      );
      return { nll, predicted };
    },
    async generate(factors, prompt, options) {
      prompts.push([...prompt]);
      const { shift } = read(factors);
      const answer: number[] = [];
      let token = prompt.at(-1)!;
      while (answer.length < options.maxNewTokens) {
        token = (token + shift) % vocabulary;
        if (options.stop.includes(token)) break;
        answer.push(token);
      }
      return Int32Array.from(answer);
    },
    step: () => Promise.reject(new Error('not asked to train')),
    represent: () => Promise.reject(new Error('not asked to represent')),
    close: async () => {},
  };
}

/** A row whose response counts on from `start` in steps of `shift`, `length` tokens, then the stop token. */
function row(id: string, start: number, shift: number, length: number): TokenRow {
  const answer = Array.from({ length }, (_, i) => (start + (i + 1) * shift) % vocabulary);
  const ids = [0, start, ...answer];
  return { id, ids: Int32Array.from(ids), labelled: Uint8Array.from(ids, (_, i) => (i < 2 ? 0 : 1)) };
}

function client(id: string, shift: number, lengths: readonly number[]): ClientData {
  const test = lengths.map((length, i) => row(`${id}-${i}`, 1, shift, length));
  const testExamples = test.map(({ id, ids }) => ({
    id,
    messages: [],
    references: [ids.slice(2).join(' ')],
    columns: {},
  }));
  return { id, train: [], validation: [], test, testExamples };
}

const clients = [client('ada', 1, [2, 3]), client('bob', 2, [3, 1, 2])];
const options: EvaluationOptions = { seed: 1, batchSize: 2, signal: new AbortController().signal };
const right = -Math.log(0.7);
const wrong = -Math.log(0.3 / 9);

describe('scoreGlobal', () => {
  it('sums over tokens, then divides: micro, macro and per client in closed form', async () => {
    const scores = await scoreGlobal(tableEngine(), adapter(1, 0.7), clients, options);
    // Ada: 5 tokens, all as the model predicts. Bob: 6 tokens, none.
    expect(scores.clients['ada']!.loss).toBeCloseTo(right, 6);
    expect(scores.clients['bob']!.loss).toBeCloseTo(wrong, 6);
    expect(scores.micro.loss).toBeCloseTo((5 * right + 6 * wrong) / 11, 6);
    expect(scores.micro.perplexity).toBeCloseTo(Math.exp((5 * right + 6 * wrong) / 11), 4);
    expect(scores.micro).toMatchObject({ tokens: 11, rows: 5, tokenAccuracy: 5 / 11 });
    expect(scores.macro.loss).toBeCloseTo((right + wrong) / 2, 6);
    expect(scores.macro.tokenAccuracy).toBe(0.5);
    expect(scores.micro.exactMatch).toBeUndefined();
  });

  it('scores rows that are no client’s apart', async () => {
    const { test: rows, testExamples: examples } = client('nobody', 1, [4, 1]);
    const heldOut = { rows, examples };
    const scores = await scoreGlobal(tableEngine(), adapter(1, 0.7), clients, { ...options, heldOut });
    const plain = await scoreGlobal(tableEngine(), adapter(1, 0.7), clients, options);
    expect(scores.heldOut!.loss).toBeCloseTo(right, 6);
    expect(scores.heldOut).toMatchObject({ rows: 2, tokens: 5 });
    expect({ ...scores, heldOut: undefined }).toEqual({ ...plain, heldOut: undefined });
    expect((await scoreBase(tableEngine(), clients, { ...options, heldOut })).heldOut!.loss).toBeCloseTo(
      Math.log(10),
      6,
    );
  });

  it('does not depend on how rows are batched', async () => {
    const one = await scoreGlobal(tableEngine(), adapter(1, 0.7), clients, options);
    const engine = tableEngine();
    const other = await scoreGlobal(engine, adapter(1, 0.7), clients, { ...options, batchSize: { tokens: 5 } });
    expect(other.micro.loss).toBeCloseTo(one.micro.loss, 12);
    for (const batch of engine.batches) expect(batch.rows * batch.length).toBeLessThanOrEqual(5);
  });

  it('gives the uniform loss ln 10 for the base: zero factors of rank 1', async () => {
    const scores = await scoreBase(tableEngine(), clients, options);
    expect(scores.micro.loss).toBeCloseTo(Math.log(10), 6);
    expect(scores.micro.perplexity).toBeCloseTo(10, 4);
  });

  it('answers some rows greedily, from what precedes the response', async () => {
    const engine = tableEngine();
    const generate = {
      rows: 2,
      maxNewTokens: 3,
      stop: [stop],
      decode: (ids: Int32Array) => [...ids].join(' '),
    };
    const scores = await scoreGlobal(engine, adapter(1, 0.7), clients, { ...options, generate });
    expect(engine.prompts).toEqual([
      [0, 1],
      [0, 1],
      [0, 1],
      [0, 1],
    ]);
    // Every answer is `2 3 4`. Ada's references are `2 3` and `2 3 4`.
    const ada = scores.clients['ada']!;
    expect(ada).toMatchObject({ generated: 2, exactMatch: 0.5 });
    expect(ada.rougeL).toBeCloseTo((1 + (2 * (2 / 3)) / (1 + 2 / 3)) / 2, 12);
    expect(scores.clients['bob']!.exactMatch).toBe(0);
    expect(scores.micro.generated).toBe(4);
    expect(scores.macro.exactMatch).toBe(0.25);
  });

  it('limits an answer to the room that the prompt leaves, down to none', async () => {
    const long = client('eve', 1, [1]);
    const ids = Int32Array.from([0, 0, 0, 0, 0, 0, 0, 1, 2]);
    const labelled = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 1]);
    const full = { ...long, test: [{ id: 'eve-0', ids, labelled }] };
    const engine = tableEngine();
    const generate = { rows: 1, maxNewTokens: 3, stop: [stop], decode: String };
    const scores = await scoreGlobal(engine, adapter(1, 0.7), [full], { ...options, generate });
    expect(engine.prompts).toEqual([]);
    expect(scores.micro).toMatchObject({ generated: 1, exactMatch: 0, rougeL: 0 });
  });

  it('draws the same rows for the same seed, others for another, never more than asked', async () => {
    const many = [client('ada', 1, [1, 2, 3, 4, 5, 6])];
    const tokens = async (seed: number) => {
      const scores = await scoreGlobal(tableEngine(), adapter(1, 0.7), many, { ...options, rows: 2, seed });
      expect(scores.micro.rows).toBe(2);
      return scores.micro.tokens;
    };
    expect(await tokens(1)).toBe(await tokens(1));
    const drawn = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(tokens));
    expect(new Set(drawn).size).toBeGreaterThan(1);
  });

  it('stops at an abort, before the next batch', async () => {
    const abort = new AbortController();
    const engine = tableEngine();
    const score: Engine['score'] = (factors, batch) => {
      abort.abort(new Error('stopped by a test'));
      return engine.score(factors, batch);
    };
    const scoring = scoreGlobal({ ...engine, score }, adapter(1, 0.7), clients, { ...options, signal: abort.signal });
    await expect(scoring).rejects.toThrow('stopped by a test');
    expect(engine.batches.length).toBe(1);
  });

  it('names the client where a loss is not finite or nothing is labelled', async () => {
    await expect(scoreGlobal(tableEngine(), adapter(1, 1), clients, options)).rejects.toThrow(
      'The loss on the test rows of client bob is not finite',
    );
    const empty = [{ ...clients[0]!, test: [] }];
    await expect(scoreBase(tableEngine(), empty, options)).rejects.toThrow(
      'No labelled token in the test rows of client ada',
    );
  });
});

describe('scorePersonal', () => {
  const shifts: Readonly<Record<string, number>> = { ada: 1, bob: 2 };
  const personal = (id: string) => adapter(shifts[id]!, 0.7);

  it('gives own scores, the pooled loss and the matrix in closed form', async () => {
    const scores = (await scorePersonal(tableEngine(), personal, clients, options))!;
    expect(scores.macro.loss).toBeCloseTo(right, 6);
    expect(scores.macro.tokenAccuracy).toBe(1);
    // 1 + 2·1 = 3 = 1 + 1·2: Bob's model is never right for Ada after `1`, and neither hers for him.
    const [[aa, ab], [ba, bb]] = scores.matrix as [[number, number], [number, number]];
    for (const own of [aa, bb]) expect(own).toBeCloseTo(right, 6);
    for (const other of [ab, ba]) expect(other).toBeCloseTo(wrong, 6);
    expect(scores.pooledLoss).toBeCloseTo(((5 * right + 6 * wrong) / 11 + (5 * wrong + 6 * right) / 11) / 2, 6);
  });

  it('sends each model over each row exactly once', async () => {
    const engine = tableEngine();
    await scorePersonal(engine, personal, clients, options);
    const rows = engine.batches.reduce((sum, batch) => sum + batch.rows, 0);
    expect(rows).toBe(2 * 5);
  });

  it('reads only own rows with the matrix off', async () => {
    const engine = tableEngine();
    const scores = (await scorePersonal(engine, personal, clients, { ...options, matrix: false }))!;
    expect(engine.batches.reduce((sum, batch) => sum + batch.rows, 0)).toBe(5);
    expect(scores.macro.loss).toBeCloseTo(right, 6);
    expect('matrix' in scores || 'pooledLoss' in scores).toBe(false);
  });

  it('leaves out a client without a personal model', async () => {
    const some = (id: string) => (id === 'ada' ? undefined : personal(id));
    const scores = (await scorePersonal(tableEngine(), some, clients, options))!;
    expect(Object.keys(scores.clients)).toEqual(['bob']);
    expect(scores.matrix![0]).toEqual([]);
    expect(scores.matrix![1]!.length).toBe(2);
    expect(scores.macro.loss).toBeCloseTo(right, 6);
    expect(await scorePersonal(tableEngine(), () => undefined, clients, options)).toBeUndefined();
  });
});

it('adds: the sums of two sets of rows are the sums of all', async () => {
  const rows = clients.flatMap((one) => one.test);
  const factors = adapter(1, 0.7)[0]!.adapter.factors;
  const all = await scoreRows(tableEngine(), factors, rows, options);
  const parts = addSums(
    await scoreRows(tableEngine(), factors, rows.slice(0, 2), options),
    await scoreRows(tableEngine(), factors, rows.slice(2), options),
  );
  expect(all).toMatchObject({ rows: 5, tokens: 11, correct: 5, generated: 0 });
  expect(parts.nll).toBeCloseTo(all.nll, 10);
  expect({ ...parts, nll: 0 }).toEqual({ ...all, nll: 0 });
});
