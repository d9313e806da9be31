import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FloatDtype } from '../src/formats/dtype.ts';
import { keyOfA, keyOfB, type LoraLayout } from '../src/lora/adapter.ts';
import { parseConfig, type LlamaConfig } from '../src/models/config.ts';
import { weightShapes } from '../src/models/weights.ts';
import type { Tensor, Tensors } from '../src/tensor/tensor.ts';
import { numbers } from './finite-differences.ts';
import { encodeSafetensors } from './support/safetensors.ts';

/** A Llama of a few thousand random weights, with everything unusual about it that the family allows. */
export const tinyJson = {
  model_type: 'llama',
  hidden_size: 12,
  intermediate_size: 20,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  vocab_size: 37,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 500,
  rope_scaling: {
    rope_type: 'llama3',
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 32,
  },
  tie_word_embeddings: false,
  attention_bias: true,
  mlp_bias: true,
};

export const tinyConfig: LlamaConfig = parseConfig(tinyJson, 'tiny config.json');

const filled = (shape: readonly number[], seed: number, size: number, around = 0): Tensor => ({
  shape,
  data: numbers(
    shape.reduce((product, n) => product * n, 1),
    seed,
  ).map((x) => around + size * x),
});

/** Random weights for a config, by name. */
export function tinyWeights(config: LlamaConfig = tinyConfig): Tensors {
  const entries = [...weightShapes(config)].map(
    ([name, shape], i) =>
      [name, name.includes('norm') ? filled(shape, i + 1, 0.3, 1) : filled(shape, i + 1, 0.5)] as const,
  );
  return new Map(entries);
}

/** Random factors for a layout; `rank` in place of the layout's own where given. */
export function tinyFactors(layout: LoraLayout, seed = 1, rank?: number): Tensors {
  const factors = new Map<string, Tensor>();
  for (const [i, module] of layout.modules.entries()) {
    const r = rank ?? module.rank;
    factors.set(keyOfA(module.name), filled([r, module.inFeatures], 1000 * seed + 2 * i, 0.3));
    factors.set(keyOfB(module.name), filled([module.outFeatures, r], 1000 * seed + 2 * i + 1, 0.3));
  }
  return factors;
}

/** A new temporary folder with config.json and model.safetensors. */
export function writeModel(json: object, weights: Tensors, dtype: FloatDtype = 'F32', within?: string): string {
  const folder = within ?? mkdtempSync(join(tmpdir(), 'fedlora-model-'));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(json));
  writeFileSync(join(folder, 'model.safetensors'), encodeSafetensors(weights, dtype));
  return folder;
}
