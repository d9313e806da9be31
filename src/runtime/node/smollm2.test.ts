import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packRows } from '../../../tests/pack.ts';
import { golden, needs, shared } from '../../../tests/shared.ts';
import { smollm2 } from '../../../tests/smollm2.ts';
import { readTensors } from '../../formats/files/safetensors.ts';
import { keyOfA, keyOfB } from '../../lora/adapter.ts';
import { loraLayout } from '../../lora/layout.ts';
import { projectionsOf } from '../../models/weights.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import type { Engine } from '../engine.ts';
import { openModelFolder } from '../../formats/files/model.ts';
import { openEngine } from './open.ts';

interface GoldenSmol {
  lora: { r: number; alpha: number; targets: string[] };
  batch: Parameters<typeof packRows>[0];
  loss: number;
  loss_base_model_without_adapter: number;
  grad_norms: Record<string, number>;
  generation: { prompt_ids: number[]; new_ids: number[] }[];
  sentence: { ids: number[]; logprob_of_next_token: number[]; argmax_next: number[] };
}

const present = shared('models/smollm2-135m-instruct') !== undefined;
const ourKey = (key: string): string => key.replace('base_model.model.', '').replace('.weight', '');
const EOS = 2;

/** The golden file's integer generator. */
function stream(index: number, amplitude: number, shape: readonly number[]): Tensor {
  let x = Number((BigInt(index + 1) * 2654435761n) % 4294967296n);
  const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
  for (let i = 0; i < data.length; i++) {
    x = (Math.imul(1664525, x) + 1013904223) >>> 0;
    data[i] = (((x >>> 8) - 8388608) / 8388608) * amplitude;
  }
  return { shape, data };
}

describe.skipIf(!present)(`SmolLM2-135M in half precision ${present ? '' : needs('models')}`, () => {
  const expected = golden<GoldenSmol>('lora_step_smollm2.json');
  let engine: Engine;
  let factors: Tensors;
  let none: Tensors;
  beforeAll(async () => {
    const model = await openModelFolder(smollm2() as string);
    const { r: rank, alpha, targets } = expected.lora;
    engine = await openEngine({ model, layout: loraLayout(projectionsOf(model.config), { targets, rank, alpha }) });
    const made = new Map<string, Tensor>();
    for (const [i, { name, inFeatures, outFeatures }] of engine.layout.modules.entries()) {
      made.set(keyOfA(name), stream(2 * i, 2 ** -5, [rank, inFeatures]));
      made.set(keyOfB(name), stream(2 * i + 1, 2 ** -6, [outFeatures, rank]));
    }
    factors = made;
    none = new Map([...made].map(([key, { shape, data }]) => [key, { shape, data: new Float32Array(data.length) }]));
  });
  afterAll(() => engine.close());

  test('the factors are those of the golden file', async () => {
    const reference = await readTensors(shared('golden/lora_step_smollm2.init.safetensors') as string);
    expect(reference.size).toBe(12);
    for (const [key, { shape, data }] of reference) expect(factors.get(ourKey(key))).toEqual({ shape, data });
  });

  test('loss, 120 gradient norms and 12 gradients', async () => {
    const { loss, gradients } = await engine.step(factors, packRows(expected.batch), 'AB');
    expect(Math.abs(loss / expected.loss - 1)).toBeLessThan(1e-4);
    expect(gradients.size).toBe(120);
    for (const [key, norm] of Object.entries(expected.grad_norms)) {
      const { data } = gradients.get(ourKey(key)) as Tensor;
      const ours = Math.sqrt(data.reduce((sum, x) => sum + x * x, 0));
      expect(Math.abs(ours / norm - 1), key).toBeLessThan(1e-3);
    }
    const reference = await readTensors(shared('golden/lora_step_smollm2.grads.safetensors') as string);
    expect(reference.size).toBe(12);
    for (const [key, { data }] of reference) {
      const ours = gradients.get(ourKey(key)) as Tensor;
      const largest = data.reduce((top, x) => Math.max(top, Math.abs(x)), 0);
      const off = data.reduce((top, x, i) => Math.max(top, Math.abs(x - (ours.data[i] as number))), 0);
      expect(off / largest, key).toBeLessThan(2e-3);
    }
  });

  test('loss without an adapter, log-probabilities and most likely tokens', async () => {
    const { nll } = await engine.score(none, packRows(expected.batch));
    const mean = nll.reduce((sum, x) => sum + x, 0) / nll.length;
    expect(Math.abs(mean / expected.loss_base_model_without_adapter - 1)).toBeLessThan(1e-4);
    const { ids, logprob_of_next_token, argmax_next } = expected.sentence;
    const row = { input_ids: [ids], attention_mask: [ids.map(() => 1)], labels: [ids] };
    const scores = await engine.score(none, packRows(row));
    for (const [i, x] of logprob_of_next_token.entries())
      expect(Math.abs(-(scores.nll[i] as number) - x)).toBeLessThan(1e-3);
    expect([...scores.predicted]).toEqual(argmax_next.slice(0, -1));
  });

  test('greedy answers to two chats', async () => {
    for (const { prompt_ids, new_ids } of expected.generation) {
      const found = await engine.generate(none, Int32Array.from(prompt_ids), { maxNewTokens: 16, stop: [EOS] });
      expect([...found]).toEqual(new_ids.filter((id) => id !== EOS));
    }
  });
});
