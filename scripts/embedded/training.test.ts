import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Tokenizer } from '../../src/data/tokenizer.ts';
import { readTensors } from '../../src/formats/files/safetensors.ts';
import { openTokenizer } from '../../src/formats/files/tokenizer.ts';
import { weightShapes } from '../../src/models/weights.ts';
import type { FullTraining } from '../../src/runtime/full-training.ts';
import { openFullTraining } from '../../src/runtime/node/open.ts';
import { sameBits } from '../../src/tensor/tensors.ts';
import { loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { configFiles, initialWeights, modelConfig } from './model.ts';
import { modelFolder } from './paths.ts';
import { beginning, heldOut, recipe, trainBase, type Recipe, type TrainingStep } from './training.ts';

let engine: FullTraining;
let tokenizer: Tokenizer;
let folder: string;
beforeAll(async () => {
  engine = openFullTraining(modelConfig);
  tokenizer = await openTokenizer(modelFolder);
  folder = await mkdtemp(join(tmpdir(), 'fedlora-pretrain-'));
});
afterAll(async () => {
  await engine.close();
  await rm(folder, { recursive: true });
});

async function stepsOf(short: Recipe, from = beginning(short), most = Infinity): Promise<TrainingStep[]> {
  const steps: TrainingStep[] = [];
  for await (const step of trainBase(engine, tokenizer, short, from)) {
    steps.push(step);
    if (steps.length === most) break;
  }
  return steps;
}

describe('the training of the base model', () => {
  const short: Recipe = { ...recipe, steps: 6, rows: 8, warmup: 2, rate: 1e-3 };

  test('goes on from a checkpoint to the same bits as without interruption', async () => {
    const whole = await stepsOf(short);
    const before = (await stepsOf(short, beginning(short), 3)).at(-1)!;
    const file = join(folder, 'checkpoint.safetensors');
    await saveCheckpoint(file, { recipe: 'short', weights: before.weights, adam: before.adam });
    const after = await stepsOf(short, await loadCheckpoint(file, 'short'));
    expect([whole.length, after.length]).toEqual([6, 3]);
    expect(after.map((step) => step.loss)).toEqual(whole.slice(3).map((step) => step.loss));
    expect(sameBits(after.at(-1)!.weights, whole.at(-1)!.weights)).toBe(true);
    expect(await loadCheckpoint(file, 'another recipe')).toBeUndefined();
    expect(await loadCheckpoint(join(folder, 'none'), 'short')).toBeUndefined();
  });

  test('begins at the loss of guessing and falls', async () => {
    const losses = (await stepsOf({ ...short, steps: 30, rate: 3e-3 })).map((step) => step.loss);
    expect(Math.abs(losses[0]! - Math.log(1024))).toBeLessThan(0.2);
    expect(losses.at(-1)).toBeLessThan(5.5);
  });

  test('starts from normal weights of deviation 0.02 and norms of 1, different in every tensor', () => {
    const weights = initialWeights(1);
    expect([...weights.keys()]).toEqual([...weightShapes(modelConfig).keys()]);
    const q = weights.get('model.layers.0.self_attn.q_proj.weight')!.data;
    expect(Math.sqrt(q.reduce((sum, x) => sum + x * x, 0) / q.length)).toBeCloseTo(0.02, 3);
    expect(weights.get('model.norm.weight')!.data.every((x) => x === 1)).toBe(true);
    expect(weights.get('model.layers.1.self_attn.q_proj.weight')!.data).not.toEqual(q);
  });
});

describe('the committed model', () => {
  test('has the held-out loss that stands beside it', async () => {
    const facts = JSON.parse(await readFile(join(modelFolder, 'training.json'), 'utf8')) as {
      recipe: Recipe;
      heldOut: { loss: number; tokens: number; accuracy: number };
    };
    const { loss, tokens } = await heldOut(engine, tokenizer, await readTensors(modelFolder));
    expect(facts.recipe).toEqual(recipe);
    expect(tokens).toBe(facts.heldOut.tokens);
    expect(Math.abs(loss / facts.heldOut.loss - 1)).toBeLessThan(1e-3);
  });

  test('has between one and three million weights, in F16, and the configuration written here', async () => {
    const numbers = [...weightShapes(modelConfig).values()].reduce(
      (sum, shape) => sum + shape.reduce((a, b) => a * b),
      0,
    );
    expect(numbers).toBe(1_016_960);
    const bytes = await readFile(join(modelFolder, 'model.safetensors'));
    expect(bytes.length).toBeLessThan(2 * numbers + 10_000);
    for (const [name, text] of configFiles()) expect(await readFile(join(modelFolder, name), 'utf8')).toBe(text);
  });
});
