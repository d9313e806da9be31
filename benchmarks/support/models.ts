import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeModelTensors } from '../../src/formats/files/safetensors-write.ts';
import { parseConfig } from '../../src/models/config.ts';
import { weightShapes } from '../../src/models/weights.ts';
import { stream } from '../../src/tensor/random.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { shared } from './shared.ts';

const cache = resolve('.cache/benchmarks');

/** SmolLM2-135M-Instruct with F16 weights, made once from the shared GGUF; undefined where the shared data are absent. */
export function smollm2(): string | undefined {
  const [source, tool] = [shared('models/smollm2-135m-instruct'), shared('tools/gguf-to-hf.mjs')];
  if (source === undefined || tool === undefined) return undefined;
  const folder = join(cache, 'smollm2');
  const weights = join(folder, 'model.safetensors');
  if (existsSync(weights)) return folder;
  mkdirSync(folder, { recursive: true });
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'])
    cpSync(join(source, file), join(folder, file), { dereference: true });
  const made = spawnSync(process.execPath, [tool, join(source, 'model.Q4_1.gguf'), weights], {
    stdio: ['ignore', process.stderr, 'inherit'],
  });
  if (made.status !== 0) throw new Error(`${tool} could not convert SmolLM2`);
  return folder;
}

const llama42mConfig = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 512,
  intermediate_size: 1376,
  num_hidden_layers: 8,
  num_attention_heads: 8,
  num_key_value_heads: 8,
  vocab_size: 32_000,
  max_position_embeddings: 2048,
  hidden_act: 'silu',
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: 2,
};

/** A Llama of 42 million random F32 weights over LLaMA2's vocabulary. */
export async function llama42m(): Promise<string> {
  const folder = join(cache, 'llama42m');
  if (existsSync(join(folder, 'model.safetensors'))) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(llama42mConfig));
  const tensors = new Map<string, Tensor>();
  for (const [name, shape] of weightShapes(parseConfig(llama42mConfig, 'llama42m'))) {
    const random = stream(1, 'benchmarks', name);
    const length = shape.reduce((product, n) => product * n, 1);
    const data = Float32Array.from({ length }, () => (shape.length === 1 ? 1 : 0.02 * random.normal()));
    tensors.set(name, { shape, data });
  }
  await writeModelTensors(folder, tensors);
  return folder;
}
