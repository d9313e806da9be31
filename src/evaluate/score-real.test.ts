import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { golden, needs, shared } from '../../tests/shared.ts';
import type { ClientData } from '../data/types.ts';
import { readTensors } from '../formats/files/safetensors.ts';
import type { AdapterMix } from '../lora/adapter.ts';
import { loraLayout } from '../lora/layout.ts';
import { projectionsOf } from '../models/weights.ts';
import type { Engine } from '../runtime/engine.ts';
import { openModelFolder } from '../formats/files/model.ts';
import { openEngine } from '../runtime/node/open.ts';
import type { EvaluationOptions } from './options.ts';
import { scoreBase, scoreGlobal, scorePersonal } from './score.ts';

interface Step {
  readonly lora: { readonly r: number; readonly alpha: number; readonly targets: string[] };
  readonly batch: { readonly input_ids: number[][]; readonly attention_mask: number[][]; readonly labels: number[][] };
  readonly labelled_tokens_per_sequence: number[];
  readonly nll_sum_per_sequence: number[];
  readonly loss: number;
  readonly loss_base_model_without_adapter: number;
}

interface Stories {
  readonly greedy_ids: number[];
  readonly encode: { readonly text: string; readonly ids: number[]; readonly mean_nll?: number }[];
}

const model = shared('models/stories260K');
const options: EvaluationOptions = { seed: 1, batchSize: 2, signal: new AbortController().signal };
const client = (id: string, ids: readonly number[], labelled: readonly boolean[]): ClientData => ({
  id,
  train: [],
  validation: [],
  test: [{ id, ids: Int32Array.from(ids), labelled: Uint8Array.from(labelled, Number) }],
  testExamples: [{ id, messages: [], references: [ids.slice(1).join(' ')], columns: {} }],
});

describe.skipIf(model === undefined)(`a real model's scores ${model === undefined ? needs('models') : ''}`, () => {
  const step = golden<Step>('lora_step_stories260K.json');
  const clients = step.batch.input_ids.map((ids, i) => {
    const length = step.batch.attention_mask[i]!.reduce((sum, x) => sum + x, 0);
    const labels = step.batch.labels[i]!.slice(0, length);
    return client(
      `row-${i}`,
      ids.slice(0, length),
      labels.map((label) => label !== -100),
    );
  });
  let engine: Engine;
  let mix: AdapterMix;
  beforeAll(async () => {
    const base = await openModelFolder(`${model}/hf`);
    const { r: rank, alpha, targets } = step.lora;
    const layout = loraLayout(projectionsOf(base.config), { targets, rank, alpha });
    engine = await openEngine({ model: base, layout });
    const stored = await readTensors(shared('golden', 'lora_step_stories260K.init.safetensors')!);
    const factors = new Map(
      [...stored].map(([key, tensor]) => [key.replace('base_model.model.', '').replace('.weight', ''), tensor]),
    );
    mix = [{ adapter: { layout, factors }, weight: 1 }];
  });
  afterAll(() => engine.close());

  it("agrees with PyTorch's loss of each row, pooled and without the adapter, within 2e-5", async () => {
    const scores = await scoreGlobal(engine, mix, clients, options);
    for (const [i, sum] of step.nll_sum_per_sequence.entries()) {
      const { loss, tokens } = scores.clients[`row-${i}`]!;
      expect(tokens).toBe(step.labelled_tokens_per_sequence[i]);
      expect(Math.abs((loss * tokens) / sum - 1)).toBeLessThan(2e-5);
    }
    expect(Math.abs(scores.micro.loss / step.loss - 1)).toBeLessThan(2e-5);
    const base = await scoreBase(engine, clients, options);
    expect(Math.abs(base.micro.loss / step.loss_base_model_without_adapter - 1)).toBeLessThan(2e-5);
  });

  it('scores personal models by the same numbers', async () => {
    const personal = (id: string) => (id === 'row-1' ? mix : undefined);
    const scores = (await scorePersonal(engine, personal, clients, options))!;
    const expected = step.nll_sum_per_sequence.map((sum, i) => sum / step.labelled_tokens_per_sequence[i]!);
    for (const [j, loss] of scores.matrix![1]!.entries()) {
      expect(Math.abs(loss / expected[j]! - 1)).toBeLessThan(2e-5);
    }
    expect(Math.abs(scores.pooledLoss! / step.loss - 1)).toBeLessThan(2e-5);
  });

  it("agrees with the reference NLL of whole texts, and its greedy answer is the reference's", async () => {
    const { encode, greedy_ids: greedy } = JSON.parse(readFileSync(`${model}/golden.json`, 'utf8')) as Stories;
    const measured = encode.filter((text) => text.mean_nll !== undefined);
    expect(measured.length).toBeGreaterThan(1);
    const texts = measured.map(({ ids }, i) =>
      client(
        `text-${i}`,
        ids,
        ids.map((_, at) => at > 0),
      ),
    );
    const scores = await scoreBase(engine, texts, options);
    for (const [i, { mean_nll: expected }] of measured.entries()) {
      expect(Math.abs(scores.clients[`text-${i}`]!.loss - expected!)).toBeLessThan(1e-5 * (1 + expected!));
    }
    const story = client(
      'story',
      greedy,
      greedy.map((_, at) => at > 0),
    );
    const generate = {
      rows: 1,
      maxNewTokens: greedy.length - 1,
      stop: [2],
      decode: (ids: Int32Array) => ids.join(' '),
    };
    const told = await scoreBase(engine, [story], { ...options, generate });
    expect(told.micro).toMatchObject({ exactMatch: 1, rougeL: 1, tokenAccuracy: 1 });
  });
});
