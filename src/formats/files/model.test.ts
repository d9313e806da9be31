import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { needs, shared } from '../../../tests/shared.ts';
import { UserError } from '../../errors.ts';
import { parseConfig } from '../../models/config.ts';
import { weightShapes } from '../../models/weights.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { checkFinite, openModelFolder } from './model.ts';
import { openSafetensors } from './safetensors.ts';
import { writeModelTensors, type WriteOptions } from './safetensors-write.ts';

const config = {
  model_type: 'llama',
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  vocab_size: 16,
  eos_token_id: 2,
};
const tensors = new Map<string, Tensor>(
  [...weightShapes(parseConfig(config, 'c'))].map(([name, shape]) => [
    name,
    { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.5) },
  ]),
);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fedlora-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const write = async (change: { config?: object; tensors?: (map: Map<string, Tensor>) => void } & WriteOptions = {}) => {
  const map = new Map([...tensors].map(([name, { shape, data }]) => [name, { shape, data: data.slice() }]));
  change.tensors?.(map);
  await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, ...change.config }));
  await writeModelTensors(folder, map, { dtype: change.dtype ?? 'F32', maxShardBytes: 2000 });
};
const zeros = (...shape: number[]): Tensor => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });

describe('openModelFolder', () => {
  it('gives the config, end tokens and tensors', async () => {
    await write({ dtype: 'BF16', tensors: (map) => map.set('model.layers.0.self_attn.rotary_emb.inv_freq', zeros(2)) });
    await writeFile(join(folder, 'generation_config.json'), '{"eos_token_id":[2,3]}');
    const model = await openModelFolder(folder);
    expect(model.path).toBe(folder);
    expect(model.config).toMatchObject({ hiddenSize: 8, eosIds: [2, 3] });
    expect(model.store.files.length).toBeGreaterThan(1);
    expect(model.store.tensors.get('lm_head.weight')).toMatchObject({ dtype: 'BF16', shape: [16, 8] });
  });

  it.each<readonly [string, Parameters<typeof write>[0], RegExp]>([
    [
      'a missing tensor',
      { tensors: (m) => m.delete('model.layers.1.mlp.up_proj.weight') },
      /the weights lack model\.layers\.1\.mlp\.up_proj\.weight, which config\.json asks for$/,
    ],
    [
      'many missing tensors',
      { config: { num_hidden_layers: 3 } },
      /the weights lack model\.layers\.2\.input_layernorm\.weight, .* and 6 more, which/,
    ],
    [
      'a missing head',
      { tensors: (m) => m.delete('lm_head.weight') },
      /the weights lack lm_head\.weight, .* config\.json must say tie_word_embeddings true/,
    ],
    [
      'a wrong shape',
      { config: { num_key_value_heads: 2 } },
      /model\.layers\.0\.self_attn\.k_proj\.weight has the shape \[4, 8\], but config\.json asks for \[8, 8\]/,
    ],
    [
      'a wrong vocabulary',
      { config: { vocab_size: 17 } },
      /model\.embed_tokens\.weight has the shape \[16, 8\], but config\.json asks for \[17, 8\]/,
    ],
    [
      'fewer dimensions',
      { tensors: (m) => m.set('model.norm.weight', zeros(8, 1)) },
      /model\.norm\.weight has the shape \[8, 1\]/,
    ],
    [
      'biases that the config denies',
      { tensors: (m) => m.set('model.layers.0.self_attn.q_proj.bias', zeros(8)) },
      /there is a model\.layers\.0\.self_attn\.q_proj\.bias, but config\.json says attention_bias false/,
    ],
    [
      'biases that are missing',
      { config: { mlp_bias: true } },
      /the weights lack model\.layers\.0\.mlp\.gate_proj\.bias/,
    ],
    ['an unsupported config', { config: { hidden_act: 'gelu' } }, /config\.json: hidden_act "gelu" is not supported/],
  ])('refuses %s', async (_, change, message) => {
    await write(change);
    await expect(openModelFolder(folder)).rejects.toThrow(message);
    await expect(openModelFolder(folder)).rejects.toThrow(UserError);
    await expect(openModelFolder(folder)).rejects.toThrow(folder);
  });

  it('passes over the head of a model whose head is the embedding', async () => {
    await write({ config: { tie_word_embeddings: true } });
    expect((await openModelFolder(folder)).config.tieWordEmbeddings).toBe(true);
  });

  it('refuses folders that are not there, or are no models', async () => {
    await expect(openModelFolder(join(folder, 'x'))).rejects.toThrow(/x: no such folder/);
    await writeFile(join(folder, 'file'), '');
    await expect(openModelFolder(join(folder, 'file'))).rejects.toThrow(/file: is a file; a model is a folder/);
    await expect(openModelFolder(folder)).rejects.toThrow(
      /has no config\.json; a model is a folder as transformers' save_pretrained writes it/,
    );
    await writeFile(join(folder, 'config.json'), '{');
    await expect(openModelFolder(folder)).rejects.toThrow(/config\.json: not JSON/);
    await writeFile(join(folder, 'config.json'), JSON.stringify(config));
    await expect(openModelFolder(folder)).rejects.toThrow(/has neither model\.safetensors nor/);
  });

  it.skipIf(shared('models/stories260K') === undefined)(
    `opens a real model ${needs('models/stories260K')}`,
    async () => {
      const { config: real, store } = await openModelFolder(shared('models/stories260K/hf')!);
      expect([real.layers, store.tensors.size]).toEqual([5, 47]);
      for await (const { done } of checkFinite(store.tensors.values())) expect(done).toBeGreaterThan(0);
    },
  );
});

describe('checkFinite', () => {
  const scan = async (signal?: AbortSignal) => {
    let last = 0;
    for await (const { done } of checkFinite((await openSafetensors(folder)).tensors.values(), signal)) last = done;
    return last;
  };

  it('reads everything', async () => {
    await write();
    const bytes = [...tensors.values()].reduce((sum, { data }) => sum + data.length * 4, 0);
    expect(await scan()).toBe(bytes);
  });

  it.each([
    ['F32', NaN],
    ['F16', -Infinity],
    ['BF16', Infinity],
  ] as const)('names the tensor and element of %s that is %d', async (dtype, value) => {
    await write({ dtype, tensors: (m) => m.get('model.layers.1.mlp.down_proj.weight')!.data.set([value], 37) });
    await expect(scan()).rejects.toThrow(
      new RegExp(`tensor "model.layers.1.mlp.down_proj.weight" holds ${value} at element 37; weights must be finite`),
    );
    await expect(scan()).rejects.toThrow(UserError);
  });

  it('counts elements over several reads, and stops when told to', async () => {
    await writeFile(join(folder, 'config.json'), '{}');
    const data = new Float32Array(5_000_000);
    data[4_999_999] = NaN;
    await writeModelTensors(folder, new Map([['big', { shape: [5_000_000], data }]]));
    await expect(scan()).rejects.toThrow(/"big" holds NaN at element 4999999/);
    await expect(scan(AbortSignal.abort(new Error('stopped')))).rejects.toThrow(/^stopped$/);
  });
});
