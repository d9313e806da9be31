import type { LlamaConfig } from '../../src/models/config.ts';
import { parseConfig } from '../../src/models/config.ts';
import { weightShapes } from '../../src/models/weights.ts';
import { stream } from '../../src/tensor/random.ts';
import type { Tensor, Tensors } from '../../src/tensor/tensor.ts';
import { vocabularySize } from './tokenizer.ts';

/** config.json of the embedded model: a Llama of one million weights. */
const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 128,
  intermediate_size: 448,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 32,
  vocab_size: vocabularySize,
  max_position_embeddings: 256,
  hidden_act: 'silu',
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  attention_bias: false,
  mlp_bias: false,
  tie_word_embeddings: true,
  bos_token_id: null,
  eos_token_id: 0,
  pad_token_id: 0,
  torch_dtype: 'float16',
};

export const modelConfig: LlamaConfig = parseConfig(config, 'the embedded model');

/** config.json and generation_config.json, as they are committed. */
export function configFiles(): Map<string, string> {
  const generation = { eos_token_id: 0, pad_token_id: 0, do_sample: false, max_new_tokens: 32 };
  return new Map([
    ['config.json', `${JSON.stringify(config, null, 2)}\n`],
    ['generation_config.json', `${JSON.stringify(generation, null, 2)}\n`],
  ]);
}

/** Normal weights of deviation 0.02, norms 1: transformers' initialisation of a Llama. Each tensor has its own stream. */
export function initialWeights(seed: number): Tensors {
  return new Map(
    [...weightShapes(modelConfig)].map(([name, shape]): [string, Tensor] => {
      const random = stream(seed, 'embedded', 'weights', name);
      const size = shape.reduce((product, n) => product * n, 1);
      const one = shape.length === 1;
      return [name, { shape, data: Float32Array.from({ length: size }, () => (one ? 1 : 0.02 * random.normal())) }];
    }),
  );
}
