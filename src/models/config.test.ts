import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { UserError } from '../errors.ts';
import { checkLength, parseConfig } from './config.ts';

const file = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(new URL(`../../tests/configs/${name}.json`, import.meta.url), 'utf8')) as Record<
    string,
    unknown
  >;

const llama2 = {
  modelType: 'llama',
  hiddenSize: 4096,
  intermediateSize: 11008,
  layers: 32,
  heads: 32,
  kvHeads: 32,
  headDim: 128,
  vocabularySize: 32000,
  rmsNormEps: 1e-5,
  ropeTheta: 10000,
  ropeScaling: undefined,
  tieWordEmbeddings: false,
  attentionBias: false,
  mlpBias: false,
  maxPositions: 4096,
  slidingWindow: undefined,
  bosId: 1,
  eosIds: [2],
};

const llama3Rope = { lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 8192 };
const mistral = { ...llama2, modelType: 'mistral', intermediateSize: 14336, kvHeads: 8, maxPositions: 32768 };

const published: Readonly<Record<string, object>> = {
  'llama-2-7b-hf': llama2,
  'deepseek-llm-7b-base': {
    ...llama2,
    layers: 30,
    vocabularySize: 102400,
    rmsNormEps: 1e-6,
    bosId: 100000,
    eosIds: [100001],
  },
  'llama-3.1-8b-instruct': {
    ...llama2,
    intermediateSize: 14336,
    kvHeads: 8,
    vocabularySize: 128256,
    ropeTheta: 500000,
    ropeScaling: { factor: 8, ...llama3Rope },
    maxPositions: 131072,
    bosId: 128000,
    eosIds: [128001, 128008, 128009],
  },
  'llama-3.2-1b': {
    ...llama2,
    hiddenSize: 2048,
    intermediateSize: 8192,
    layers: 16,
    kvHeads: 8,
    headDim: 64,
    vocabularySize: 128256,
    ropeTheta: 500000,
    ropeScaling: { factor: 32, ...llama3Rope },
    tieWordEmbeddings: true,
    maxPositions: 131072,
    bosId: 128000,
    eosIds: [128001],
  },
  'smollm2-135m-instruct': {
    ...llama2,
    hiddenSize: 576,
    intermediateSize: 1536,
    layers: 30,
    heads: 9,
    kvHeads: 3,
    headDim: 64,
    vocabularySize: 49152,
    ropeTheta: 100000,
    tieWordEmbeddings: true,
    maxPositions: 8192,
  },
  'tinyllama-1.1b-chat-v1.0': {
    ...llama2,
    hiddenSize: 2048,
    intermediateSize: 5632,
    layers: 22,
    kvHeads: 4,
    headDim: 64,
    maxPositions: 2048,
  },
  'mistral-7b-v0.1': { ...mistral, slidingWindow: 4096 },
  'mistral-7b-v0.3': { ...mistral, vocabularySize: 32768, ropeTheta: 1000000 },
  stories260k: {
    ...llama2,
    hiddenSize: 64,
    intermediateSize: 172,
    layers: 5,
    heads: 8,
    kvHeads: 4,
    headDim: 8,
    vocabularySize: 512,
    tieWordEmbeddings: true,
    maxPositions: 512,
  },
};

describe('parseConfig', () => {
  it.each(Object.entries(published))('accepts %s as published', (name, expected) => {
    expect(parseConfig(file(name), 'config.json')).toEqual(expected);
  });

  it('reads theta and scaling from the newer rope_parameters', () => {
    const { rope_scaling: scaling, rope_theta: theta, ...rest } = file('llama-3.2-1b');
    const newer = { ...rest, rope_theta: null, rope_parameters: { ...(scaling as object), rope_theta: theta } };
    expect(parseConfig(newer, 'config.json')).toEqual(published['llama-3.2-1b']);
    const plain = {
      ...file('smollm2-135m-instruct'),
      rope_theta: undefined,
      rope_parameters: { rope_type: 'default', rope_theta: 100000 },
    };
    expect(parseConfig(plain, 'config.json')).toEqual(published['smollm2-135m-instruct']);
  });

  it('takes the end tokens of generation_config.json before those of config.json', () => {
    const config = file('llama-3.2-1b');
    expect(parseConfig(config, 'c', { eos_token_id: [128001, 128009] }).eosIds).toEqual([128001, 128009]);
    expect(parseConfig(config, 'c', { eos_token_id: 7 }).eosIds).toEqual([7]);
    expect(parseConfig(config, 'c', { temperature: 1 }).eosIds).toEqual([128001]);
    expect(() => parseConfig(config, 'c', { eos_token_id: 'x' })).toThrow(/generation_config\.json.*eos_token_id/);
  });

  it("fills in transformers' defaults of each family", () => {
    const sizes = {
      hidden_size: 64,
      intermediate_size: 100,
      num_hidden_layers: 1,
      num_attention_heads: 16,
      vocab_size: 10,
    };
    expect(parseConfig({ ...sizes, model_type: 'llama' }, 'c')).toMatchObject({
      kvHeads: 16,
      headDim: 4,
      rmsNormEps: 1e-6,
      ropeTheta: 10000,
      maxPositions: 2048,
      slidingWindow: undefined,
      bosId: undefined,
      eosIds: [],
    });
    expect(parseConfig({ ...sizes, model_type: 'mistral' }, 'c')).toMatchObject({
      kvHeads: 8,
      maxPositions: 131072,
      slidingWindow: 4096,
    });
  });

  it.each([
    [{ model_type: 'gemma2' }, /model_type "gemma2" is not supported; supported are "llama" and "mistral"/],
    [{ model_type: undefined }, /model_type undefined is not supported/],
    [{ hidden_act: 'gelu' }, /hidden_act "gelu" is not supported; supported is "silu"/],
    [
      { rope_scaling: { type: 'linear', factor: 2 } },
      /rope_scaling of type "linear" is not supported; supported are "default" and "llama3"/,
    ],
    [{ rope_scaling: { rope_type: 'yarn', factor: 2 } }, /rope_scaling of type "yarn"/],
    [{ rope_parameters: { rope_type: 'dynamic', rope_theta: 1 } }, /rope_parameters of type "dynamic"/],
    [
      { rope_scaling: { rope_type: 'llama3', factor: 8 } },
      /rope_scaling: low_freq_factor: .*high_freq_factor: .*original_max_position_embeddings: /,
    ],
    [
      { rope_parameters: { rope_type: 'default', partial_rotary_factor: 0.5 } },
      /partial_rotary_factor 0\.5 is not supported; only 1 is/,
    ],
    [{ quantization_config: { quant_method: 'awq', bits: 4 } }, /quantization_config .*awq.*quantised checkpoint/],
    [{ rope_interleaved: true }, /rope_interleaved true: interleaved rotary/],
    [{ layer_types: ['full_attention', 'sliding_attention'] }, /layer_types .*only full attention/],
    [{ hidden_size: undefined }, /config\.json: hidden_size: /],
    [{ num_hidden_layers: 0 }, /num_hidden_layers: /],
    [{ num_hidden_layers: 1e9 }, /num_hidden_layers: /],
    [{ vocab_size: '32000' }, /vocab_size: /],
    [{ num_key_value_heads: 5 }, /num_attention_heads 32 must be a multiple of num_key_value_heads 5/],
    [
      { num_attention_heads: 33, num_key_value_heads: 33 },
      /hidden_size 4096 is not a multiple of num_attention_heads 33/,
    ],
    [{ head_dim: 7 }, /even head_dim, found 7/],
    [{ hidden_size: -1, vocab_size: 1.5 }, /hidden_size: .*; vocab_size: /],
  ])('refuses %j by name', (change, message) => {
    const config = { ...file('llama-2-7b-hf'), ...change };
    expect(() => parseConfig(config, 'models/x/config.json')).toThrow(message);
    expect(() => parseConfig(config, 'models/x/config.json')).toThrow(UserError);
    expect(() => parseConfig(config, 'models/x/config.json')).toThrow(/^models\/x\/config\.json: /);
  });

  it('refuses what is not an object', () => {
    for (const value of [null, [], 'llama', 3]) expect(() => parseConfig(value, 'c')).toThrow(UserError);
  });
});

describe('checkLength', () => {
  it('accepts sequences up to the sliding window and refuses longer ones', () => {
    const config = parseConfig(file('mistral-7b-v0.1'), 'c');
    expect(() => checkLength(config, 4096)).not.toThrow();
    expect(() => checkLength(config, 4097)).toThrow(/4097 tokens are longer than the model's sliding window of 4096/);
    const open = parseConfig(file('mistral-7b-v0.3'), 'c');
    expect(() => checkLength(open, 32768)).not.toThrow();
    expect(() => checkLength(open, 32769)).toThrow(/32768 positions/);
  });
});
