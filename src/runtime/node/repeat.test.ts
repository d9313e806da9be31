import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packRows } from '../../../tests/pack.ts';
import { tinyFactors, tinyJson, tinyWeights, writeModel } from '../../../tests/tiny-llama.ts';
import { loraLayout } from '../../lora/layout.ts';
import { parseConfig } from '../../models/config.ts';
import { projectionNames, projectionsOf } from '../../models/weights.ts';
import type { StepResult } from '../engine.ts';
import { openEngine, openFullTraining } from './open.ts';

// Large enough for ONNX Runtime to share every kind of op among threads.
const json = {
  ...tinyJson,
  hidden_size: 256,
  intermediate_size: 512,
  head_dim: 64,
  vocab_size: 2000,
  num_hidden_layers: 3,
};
const config = parseConfig(json, 'config.json');
const layout = loraLayout(projectionsOf(config), { targets: projectionNames, rank: 8, alpha: 16 });
const factors = tinyFactors(layout);
const rows = [60, 41, 7, 60].map((length, r) => Array.from({ length }, (_, i) => (r * 7919 + i * i * 104729) % 2000));
const batch = packRows({ input_ids: rows, attention_mask: rows.map((ids) => ids.map(() => 1)), labels: rows });
let folder: string;
beforeAll(() => {
  folder = writeModel(json, tinyWeights(config), 'F16');
});
afterAll(() => rmSync(folder, { recursive: true }));

/** One line that stands for all bits of a step. */
function bits({ loss, gradients }: StepResult): string {
  const hash = createHash('sha256');
  for (const [name, { data }] of gradients) hash.update(name).update(data);
  return `${loss} ${hash.digest('hex')}`;
}

async function everything(threads: number, again: boolean) {
  const engine = await openEngine({ model: folder, layout, runtime: { threads } });
  if (again) {
    // A different batch in between leaves nothing behind.
    await engine.step(
      factors,
      packRows({ input_ids: [[1, 2, 3]], attention_mask: [[1, 1, 1]], labels: [[1, 2, 3]] }),
      'AB',
    );
    await engine.step(factors, batch, 'AB');
  }
  const step = await engine.step(factors, batch, 'AB');
  const scores = await engine.score(factors, batch);
  const generated = await engine.generate(factors, Int32Array.from(rows[2] as number[]), { maxNewTokens: 8, stop: [] });
  await engine.close();
  return { step: bits(step), scores, generated };
}

// More threads cut narrow matrices so that ONNX Runtime sums in other blocks: then only the same number of threads repeats.
test('the same bits again: over runs, new sessions, and 1 and 2 threads', async () => {
  const reference = await everything(1, false);
  expect(reference.step).toMatch(/^\d+\.\d+ /);
  for (const [threads, again] of [
    [1, true],
    [2, false],
    [2, true],
    [2, true],
  ] as const)
    expect(await everything(threads, again)).toEqual(reference);
});

test('training of all weights repeats bit for bit, repeated token ids included', async () => {
  const weights = tinyWeights(config);
  const results = [];
  for (const threads of [1, 2, 2]) {
    const training = openFullTraining(config, { threads });
    results.push(bits(await training.step(weights, batch)));
    await training.close();
  }
  expect(new Set(results).size).toBe(1);
});
