import * as fc from 'fast-check';
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packRows } from '../../../tests/pack.ts';
import { referenceLogits, referenceNll } from '../../../tests/reference-llama.ts';
import { tinyConfig, tinyFactors, tinyJson, tinyWeights, writeModel } from '../../../tests/tiny-llama.ts';
import { loraLayout } from '../../lora/layout.ts';
import { projectionNames, projectionsOf } from '../../models/weights.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import type { Engine, PackedBatch } from '../engine.ts';
import { openEngine, openFullTraining } from './open.ts';

const layout = loraLayout(projectionsOf(tinyConfig), { targets: projectionNames, rank: 3, alpha: 4 });
const weights = tinyWeights();
const factors = tinyFactors(layout);

interface Row {
  readonly ids: readonly number[];
  readonly labelled: readonly boolean[];
}

/** Rows as one batch; a row's first token is never labelled. */
const pack = (rows: readonly Row[]): PackedBatch =>
  packRows({
    input_ids: rows.map(({ ids }) => [...ids]),
    attention_mask: rows.map(({ ids }) => ids.map(() => 1)),
    labels: rows.map(({ ids, labelled }) => ids.map((id, i) => (labelled[i] === true ? id : -100))),
  });

const row: fc.Arbitrary<Row> = fc
  .array(fc.tuple(fc.nat({ max: tinyConfig.vocabularySize - 1 }), fc.boolean()), { minLength: 2, maxLength: 12 })
  .map((tokens) => ({
    ids: tokens.map(([id]) => id),
    // The last token is always labelled, so that no row is without a loss.
    labelled: tokens.map(([, yes], i) => i > 0 && (yes || i === tokens.length - 1)),
  }));

describe('a tiny Llama with biases, its own head, explicit head_dim and scaled rotary frequencies', () => {
  let folder: string;
  let engine: Engine;
  beforeAll(async () => {
    folder = writeModel(tinyJson, weights);
    engine = await openEngine({ model: folder, layout });
  });
  afterAll(async () => {
    await engine.close();
    rmSync(folder, { recursive: true });
  });

  test('scores and most likely tokens equal a slow float64 Llama', async () => {
    const rows: Row[] = [
      { ids: [3, 11, 36, 0, 5, 5, 20, 7], labelled: Array.from({ length: 8 }, () => true) },
      { ids: [8, 9, 1], labelled: [false, false, true] },
    ];
    const { nll, predicted } = await engine.score(factors, pack(rows));
    let at = 0;
    for (const { ids, labelled } of rows) {
      const logits = referenceLogits(tinyConfig, weights, ids, { layout, factors });
      for (let i = 1; i < ids.length; i++) {
        if (labelled[i] !== true) continue;
        const before = logits[i - 1] as number[];
        expect(nll[at]).toBeCloseTo(referenceNll(before, ids[i] as number), 4);
        expect(predicted[at]).toBe(before.indexOf(Math.max(...before)));
        at++;
      }
    }
    expect(at).toBe(nll.length);
  });

  test('greedy generation follows the slow Llama', async () => {
    const ids = [3, 11, 36];
    const found = await engine.generate(factors, Int32Array.from(ids), { maxNewTokens: 10, stop: [] });
    for (let i = 0; i < 10; i++) {
      const last = referenceLogits(tinyConfig, weights, ids, { layout, factors }).at(-1) as number[];
      ids.push(last.indexOf(Math.max(...last)));
    }
    expect([...found]).toEqual(ids.slice(3));
  });

  test('gradients of the loss agree with differences of the loss along random directions', async () => {
    const batch = pack([
      { ids: [3, 11, 36, 0, 5, 5, 20, 7], labelled: Array.from({ length: 8 }, () => true) },
      { ids: [8, 9, 1], labelled: [false, true, true] },
    ]);
    const { gradients } = await engine.step(factors, batch, 'AB');
    const direction = tinyFactors(layout, 5);
    const loss = async (by: number): Promise<number> => {
      const moved = new Map<string, Tensor>();
      for (const [key, { shape, data }] of factors)
        moved.set(key, { shape, data: data.map((x, i) => x + by * (direction.get(key)?.data[i] as number)) });
      const { nll } = await engine.score(moved, batch);
      return nll.reduce((sum, x) => sum + x, 0) / nll.length;
    };
    let slope = 0;
    for (const [key, { data }] of gradients)
      for (const [i, x] of data.entries()) slope += x * (direction.get(key)?.data[i] as number);
    const h = 2 ** -6;
    const measured =
      (8 * ((await loss(h)) - (await loss(-h))) - ((await loss(2 * h)) - (await loss(-2 * h)))) / (12 * h);
    expect(Math.abs(measured / slope - 1)).toBeLessThan(2e-3);
  });

  test('a row in a batch has the losses and gradients that it has alone', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 2, maxLength: 4 }), async (rows) => {
        const together = await engine.step(factors, pack(rows), 'AB');
        const { nll } = await engine.score(factors, pack(rows));
        let at = 0;
        const sums = new Map<string, Float64Array>();
        for (const one of rows) {
          const alone = await engine.score(factors, pack([one]));
          for (const x of alone.nll) expect(nll[at++]).toBeCloseTo(x, 4);
          const step = await engine.step(factors, pack([one]), 'AB');
          for (const [key, { data }] of step.gradients) {
            const sum = sums.get(key) ?? new Float64Array(data.length);
            for (const [i, x] of data.entries()) sum[i] = (sum[i] as number) + (x * step.tokens) / together.tokens;
            sums.set(key, sum);
          }
        }
        expect(at).toBe(together.tokens);
        for (const [key, { data }] of together.gradients)
          for (const [i, x] of data.entries()) expect(Math.abs(x - (sums.get(key)?.[i] as number))).toBeLessThan(1e-4);
      }),
      { numRuns: 25 },
    );
  });

  test('factors of another rank: two adapters stacked are their sum', async () => {
    const batch = pack([{ ids: [3, 11, 36, 0, 5], labelled: [false, true, true, true, true] }]);
    const other = tinyFactors(layout, 2, 2);
    const stacked = new Map<string, Tensor>();
    const merged = new Map(weights);
    for (const { name, inFeatures, outFeatures, scale } of layout.modules) {
      const [a1, b1, a2, b2] = [
        factors.get(`${name}.lora_A`),
        factors.get(`${name}.lora_B`),
        other.get(`${name}.lora_A`),
        other.get(`${name}.lora_B`),
      ] as [Tensor, Tensor, Tensor, Tensor];
      stacked.set(`${name}.lora_A`, { shape: [5, inFeatures], data: Float32Array.of(...a1.data, ...a2.data) });
      const b = Array.from({ length: outFeatures }, (_, i) => [
        ...b1.data.subarray(3 * i, 3 * i + 3),
        ...b2.data.subarray(2 * i, 2 * i + 2),
      ]);
      stacked.set(`${name}.lora_B`, { shape: [outFeatures, 5], data: Float32Array.from(b.flat()) });
      const { shape, data } = weights.get(`${name}.weight`) as Tensor;
      const sum = data.map((w, at) => {
        const [i, j] = [Math.floor(at / inFeatures), at % inFeatures];
        const all = (stacked.get(`${name}.lora_A`) as Tensor).data;
        return (
          w + scale * (b[i] as number[]).reduce((total, x, r) => total + x * (all[r * inFeatures + j] as number), 0)
        );
      });
      merged.set(`${name}.weight`, { shape, data: sum });
    }
    const { nll } = await engine.score(stacked, batch);
    const ids = [3, 11, 36, 0, 5];
    const logits = referenceLogits(tinyConfig, merged, ids);
    for (const [i, x] of nll.entries())
      expect(x).toBeCloseTo(referenceNll(logits[i] as number[], ids[i + 1] as number), 4);
  });

  test('bad batches and factors are refused in words', async () => {
    const good = pack([{ ids: [3, 11], labelled: [false, true] }]);
    const score = (batch: PackedBatch, given: Tensors = factors) => engine.score(given, batch);
    await expect(score({ ...good, ids: Int32Array.of(3, 37) })).rejects.toThrow(
      "token id 37 at place 1 is outside the model's vocabulary of 37 tokens",
    );
    await expect(score({ ...good, targets: Int32Array.of(-1) })).rejects.toThrow('token id -1');
    await expect(score(pack([{ ids: [3, 11], labelled: [false, false] }]))).rejects.toThrow('no labelled token');
    const long = { ids: Array.from({ length: 65 }, () => 1), labelled: Array.from({ length: 65 }, () => true) };
    await expect(score(pack([long]))).rejects.toThrow('65 tokens are longer than the 64 positions');
    const [name] = layout.modules.map((module) => module.name) as [string];
    const without = new Map([...factors].filter(([key]) => key !== `${name}.lora_B`));
    await expect(score(good, without)).rejects.toThrow(`no ${name}.lora_B`);
    const misfit = new Map(factors).set(`${name}.lora_A`, { shape: [2, 12], data: new Float32Array(24) });
    await expect(score(good, misfit)).rejects.toThrow(
      `${name}: A is [2, 12] and B [24, 3], but this model needs A [r, 12] and B [24, r]`,
    );
  });

  test('an adapter of another model, or a provider that is not there, is refused when the engine is opened', async () => {
    const [first, ...rest] = layout.modules as [(typeof layout.modules)[0], ...(typeof layout.modules)[0][]];
    const other = (change: object) => ({ ...layout, modules: [{ ...first, ...change }, ...rest] });
    const open = (change: object) => openEngine({ model: folder, layout: other(change) });
    await expect(open({ name: 'model.layers.2.self_attn.q_proj' })).rejects.toThrow(
      'a module model.layers.2.self_attn.q_proj, which this model lacks',
    );
    await expect(open({ outFeatures: 99 })).rejects.toThrow("12 features to 99, but this model's maps 12 to 24");
    await expect(openEngine({ model: folder, layout, runtime: { provider: 'abacus' } })).rejects.toThrow(
      /"abacus" is not in this build of onnxruntime-node; it has .*cpu/,
    );
  });

  test('a loss that is not a number comes out as it is', async () => {
    const broken = new Map(factors);
    const key = [...factors.keys()][0] as string;
    const { shape, data } = factors.get(key) as Tensor;
    broken.set(key, { shape, data: data.map((x, i) => (i === 0 ? Number.NaN : x)) });
    const batch = pack([{ ids: [3, 11, 4], labelled: [false, true, true] }]);
    const { loss, gradients } = await engine.step(broken, batch, 'AB');
    expect(loss).toBeNaN();
    expect([...gradients.values()].some((g) => g.data.some((x) => Number.isNaN(x)))).toBe(true);
  });

  test('training of all weights: every gradient, biases and untied head too, against differences of the loss', async () => {
    const training = openFullTraining(tinyConfig);
    const batch = pack([
      { ids: [3, 11, 36, 0, 5, 5, 20, 7], labelled: Array.from({ length: 8 }, () => true) },
      { ids: [8, 9, 1], labelled: [false, true, true] },
    ]);
    const { gradients, loss } = await training.step(weights, batch);
    const scored = await training.score(weights, batch);
    expect(loss).toBeCloseTo(scored.nll.reduce((sum, x) => sum + x, 0) / scored.nll.length, 5);
    expect([...gradients.keys()].toSorted()).toEqual([...weights.keys()].toSorted());
    for (const [name, { shape, data }] of weights) {
      const gradient = gradients.get(name)?.data as Float32Array;
      const size = Math.sqrt(gradient.reduce((sum, x) => sum + x * x, 0));
      const lossAt = async (by: number): Promise<number> => {
        const moved = data.map((x, i) => x + (by * (gradient[i] as number)) / size);
        const { nll } = await training.score(new Map(weights).set(name, { shape, data: moved }), batch);
        return nll.reduce((sum, x) => sum + x, 0) / nll.length;
      };
      const h = 2 ** -5;
      const slope =
        (8 * ((await lossAt(h)) - (await lossAt(-h))) - ((await lossAt(2 * h)) - (await lossAt(-2 * h)))) / (12 * h);
      // Along its own direction a gradient's slope is its norm. Biases of keys move no probability: theirs is zero.
      expect(Math.abs(slope - size), name).toBeLessThan(1e-3 * Math.max(size, 0.05));
    }
    await training.close();
  });
});
