import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packRows } from '../../../tests/pack.ts';
import { golden, needs, shared } from '../../../tests/shared.ts';
import { readTensors } from '../../formats/files/safetensors.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import type { FullTraining } from '../full-training.ts';
import { openModelFolder } from '../../formats/files/model.ts';
import { openFullTraining } from './open.ts';

interface GoldenFull {
  loss: number;
  total_grad_norm: number;
  parameters: Record<string, { shape: number[]; grad_norm: number; first8: number[]; last8: number[] }>;
  embed_rows_first8: Record<string, number[]>;
  sgd_lr_0_1_losses: number[];
}

const folder = shared('models/stories260K/hf');
const norm = ({ data }: Tensor): number => Math.sqrt(data.reduce((sum, x) => sum + x * x, 0));

describe.skipIf(folder === undefined)(`all weights of stories260K ${folder ? '' : needs('models')}`, () => {
  const expected = golden<GoldenFull>('full_step_stories260K.json');
  const batch = packRows(golden<{ batch: Parameters<typeof packRows>[0] }>('lora_step_stories260K.json').batch);
  let training: FullTraining;
  let weights: Tensors;
  beforeAll(async () => {
    weights = await readTensors(folder as string);
    training = openFullTraining((await openModelFolder(folder as string)).config);
  });
  afterAll(() => training.close());

  const expectClose = (ours: Float32Array, reference: readonly number[]): void => {
    for (const [i, x] of reference.entries())
      expect(Math.abs((ours[i] as number) - x)).toBeLessThanOrEqual(1e-5 + 1e-4 * Math.abs(x));
  };

  test('loss, and norms and values of all 47 gradients', async () => {
    const { loss, gradients, tokens } = await training.step(weights, batch);
    expect(tokens).toBe(36);
    expect(Math.abs(loss / expected.loss - 1)).toBeLessThan(2e-5);
    expect([...gradients.keys()].toSorted()).toEqual(Object.keys(expected.parameters).toSorted());
    for (const [name, { shape, grad_norm, first8, last8 }] of Object.entries(expected.parameters)) {
      const ours = gradients.get(name) as Tensor;
      expect(ours.shape).toEqual(shape);
      expect(Math.abs(norm(ours) / grad_norm - 1), name).toBeLessThan(1e-4);
      expectClose(ours.data, first8);
      expectClose(ours.data.subarray(-8), last8);
    }
    // The tied embedding's gradient is that of the input and of the head together.
    const embedding = gradients.get('model.embed_tokens.weight') as Tensor;
    for (const [row, first8] of Object.entries(expected.embed_rows_first8))
      expectClose(embedding.data.subarray(64 * Number(row)), first8);
  });

  test('four steps of plain SGD', async () => {
    let now = weights;
    for (const reference of expected.sgd_lr_0_1_losses) {
      const { loss, gradients } = await training.step(now, batch);
      expect(Math.abs(loss / reference - 1)).toBeLessThan(2e-5);
      now = new Map(
        [...now].map(([name, { shape, data }]) => {
          const gradient = gradients.get(name)?.data as Float32Array;
          return [name, { shape, data: data.map((x, i) => x - 0.1 * (gradient[i] as number)) }];
        }),
      );
    }
  });

  test('score gives the same loss', async () => {
    const { nll } = await training.score(weights, batch);
    expect(nll.reduce((sum, x) => sum + x, 0) / nll.length).toBeCloseTo(expected.loss, 5);
  });
});
