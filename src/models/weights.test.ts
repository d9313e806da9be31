import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseConfig } from './config.ts';
import { projectionsOf, weightShapes } from './weights.ts';

const config = (name: string) =>
  parseConfig(JSON.parse(readFileSync(new URL(`../../tests/configs/${name}.json`, import.meta.url), 'utf8')), name);

const parameters = (name: string): number =>
  [...weightShapes(config(name)).values()].reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);

describe('weightShapes', () => {
  // Parameter counts as the models' makers publish them.
  it.each([
    ['llama-2-7b-hf', 6_738_415_616],
    ['llama-3.1-8b-instruct', 8_030_261_248],
    ['llama-3.2-1b', 1_235_814_400],
    ['mistral-7b-v0.1', 7_241_732_096],
    ['tinyllama-1.1b-chat-v1.0', 1_100_048_384],
    ['smollm2-135m-instruct', 134_515_008],
    ['deepseek-llm-7b-base', 6_910_365_696],
    ['stories260k', 260_032],
  ])('gives %s its %d parameters', (name, count) => {
    expect(parameters(name)).toBe(count);
  });

  it('adds the biases that the config asks for', () => {
    const plain = config('stories260k');
    const biased = weightShapes({ ...plain, attentionBias: true, mlpBias: true });
    expect(biased.get('model.layers.4.self_attn.k_proj.bias')).toEqual([32]);
    expect(biased.get('model.layers.0.mlp.gate_proj.bias')).toEqual([172]);
    expect(biased.size - weightShapes(plain).size).toBe(7 * 5);
    expect(weightShapes({ ...plain, tieWordEmbeddings: false }).get('lm_head.weight')).toEqual([512, 64]);
  });
});

describe('projectionsOf', () => {
  it('goes layer by layer in the order q k v o gate up down, whatever the order of targets', () => {
    const all = projectionsOf(config('stories260k'));
    expect(all.length).toBe(35);
    expect(all.slice(0, 3)).toEqual([
      { name: 'model.layers.0.self_attn.q_proj', inFeatures: 64, outFeatures: 64 },
      { name: 'model.layers.0.self_attn.k_proj', inFeatures: 64, outFeatures: 32 },
      { name: 'model.layers.0.self_attn.v_proj', inFeatures: 64, outFeatures: 32 },
    ]);
    expect(all[34]).toEqual({ name: 'model.layers.4.mlp.down_proj', inFeatures: 172, outFeatures: 64 });
    expect(
      projectionsOf(config('stories260k'), ['v_proj', 'q_proj'])
        .slice(0, 3)
        .map((p) => p.name),
    ).toEqual([
      'model.layers.0.self_attn.q_proj',
      'model.layers.0.self_attn.v_proj',
      'model.layers.1.self_attn.q_proj',
    ]);
  });

  it('uses an explicit head_dim', () => {
    const [q, , , o] = projectionsOf({ ...config('stories260k'), headDim: 16 });
    expect([q?.outFeatures, o?.inFeatures]).toEqual([128, 128]);
  });
});
