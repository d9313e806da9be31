import { expect, test, describe, beforeAll, afterAll } from 'vitest';
import { golden, needs, shared } from '../../../tests/shared.ts';
import { readTensors } from '../../formats/files/safetensors.ts';
import { keyOfA, keyOfB } from '../../lora/adapter.ts';
import { loraLayout } from '../../lora/layout.ts';
import { projectionsOf } from '../../models/weights.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import type { Engine } from '../engine.ts';
import { packRows } from '../../../tests/pack.ts';
import { openModelFolder } from '../../formats/files/model.ts';
import { openEngine } from './open.ts';

interface GoldenStep {
  lora: { r: number; alpha: number; targets: string[] };
  batch: { input_ids: number[][]; attention_mask: number[][]; labels: number[][] };
  labelled_tokens_per_sequence: number[];
  nll_sum_per_sequence: number[];
  loss: number;
  loss_base_model_without_adapter: number;
  loss_targets_q_v_only: number;
}

const folder = shared('models/stories260K/hf');
const at = (name: string) => shared('golden', `lora_step_stories260K.${name}.safetensors`) as string;

/** PEFT's keys → ours. */
async function factors(file: string): Promise<Tensors> {
  const ours = new Map<string, Tensor>();
  for (const [key, tensor] of await readTensors(file))
    ours.set(key.replace('base_model.model.', '').replace('.weight', ''), tensor);
  return ours;
}

describe.skipIf(folder === undefined)(`LoRA step of stories260K ${folder === undefined ? needs('models') : ''}`, () => {
  const expected = golden<GoldenStep>('lora_step_stories260K.json');
  const batch = packRows(expected.batch);
  const { r: rank, alpha, targets } = expected.lora;
  let engine: Engine;
  let init: Tensors;
  beforeAll(async () => {
    const model = await openModelFolder(folder as string);
    engine = await openEngine({ model, layout: loraLayout(projectionsOf(model.config), { targets, rank, alpha }) });
    init = await factors(at('init'));
  });
  afterAll(() => engine.close());

  test('loss and all 70 gradients', async () => {
    const { loss, gradients } = await engine.step(init, batch, 'AB');
    expect(Math.abs(loss - expected.loss) / expected.loss).toBeLessThan(2e-5);
    const reference = await factors(at('grads'));
    expect(gradients.size).toBe(70);
    let worst = 0;
    for (const [key, { shape, data }] of reference) {
      const ours = gradients.get(key) as Tensor;
      expect(ours.shape).toEqual(shape);
      for (const [i, x] of data.entries())
        worst = Math.max(worst, Math.abs(x - (ours.data[i] as number)) / (1e-5 + 1e-4 * Math.abs(x)));
    }
    expect(worst).toBeLessThan(1);
  });

  test('only A, only B: the same gradients, nothing else', async () => {
    const both = await engine.step(init, batch, 'AB');
    for (const [want, key] of [
      ['A', keyOfA],
      ['B', keyOfB],
    ] as const) {
      const { gradients } = await engine.step(init, batch, want);
      expect([...gradients.keys()].toSorted()).toEqual(engine.layout.modules.map(({ name }) => key(name)).toSorted());
      for (const [name, { data }] of gradients) expect(data).toEqual(both.gradients.get(name)?.data);
    }
  });

  test('negative log-likelihood per row, and without an adapter', async () => {
    const { nll } = await engine.score(init, batch);
    let from = 0;
    for (const [row, count] of expected.labelled_tokens_per_sequence.entries()) {
      const sum = nll.subarray(from, from + count).reduce((total, x) => total + x, 0);
      expect(sum).toBeCloseTo(expected.nll_sum_per_sequence[row] as number, 3);
      from += count;
    }
    const none = new Map(
      [...init].map(([key, { shape, data }]) => [key, { shape, data: new Float32Array(data.length) }]),
    );
    const base = await engine.score(none, batch);
    const mean = base.nll.reduce((total, x) => total + x, 0) / base.nll.length;
    expect(Math.abs(mean - expected.loss_base_model_without_adapter)).toBeLessThan(2e-5 * mean);
  });

  test('adapters on q and v only', async () => {
    const model = await openModelFolder(folder as string);
    const layout = loraLayout(projectionsOf(model.config), { targets: ['q_proj', 'v_proj'], rank, alpha });
    const small = await openEngine({ model, layout });
    const { loss, gradients } = await small.step(init, batch, 'AB');
    await small.close();
    expect(gradients.size).toBe(20);
    expect(Math.abs(loss - expected.loss_targets_q_v_only)).toBeLessThan(2e-5 * loss);
  });

  test('rsLoRA: the same A and B at a scale of alpha / √r', async () => {
    const model = await openModelFolder(folder as string);
    const { loss_rslora_same_A_B: right } = golden<{ readonly loss_rslora_same_A_B: number }>('peft_files.json');
    const stable = await openEngine({
      model,
      layout: loraLayout(projectionsOf(model.config), { targets, rank, alpha, rslora: true }),
    });
    const { loss } = await stable.step(init, batch, 'B');
    await stable.close();
    expect(Math.abs(loss - right)).toBeLessThan(2e-5 * right);
  });
});
