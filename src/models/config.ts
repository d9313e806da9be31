import { z } from 'zod';
import { UserError } from '../errors.ts';

/** Llama 3's rescaling of rotary frequencies (transformers' rope type `llama3`). */
export interface RopeScaling {
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalMaxPositions: number;
}

/** A Llama-family model as its config.json describes it; only what this project computes is accepted. */
export interface LlamaConfig {
  readonly modelType: 'llama' | 'mistral';
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabularySize: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling | undefined;
  /** The LM head is the embedding matrix. */
  readonly tieWordEmbeddings: boolean;
  /** Biases on q, k, v and o. */
  readonly attentionBias: boolean;
  /** Biases on gate, up and down. */
  readonly mlpBias: boolean;
  readonly maxPositions: number;
  /** Tokens that a token may see, itself included; undefined for all. */
  readonly slidingWindow: number | undefined;
  readonly bosId: number | undefined;
  /** Generation ends before any of these: generation_config.json's, else config.json's. */
  readonly eosIds: readonly number[];
}

const size = z.int().positive();
const id = z.int().nonnegative();

const rope = z.looseObject({
  rope_theta: z.number().positive().nullish(),
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  partial_rotary_factor: z.number().nullish(),
});

const llama3Rope = z.looseObject({
  factor: z.number().positive(),
  low_freq_factor: z.number().positive(),
  high_freq_factor: z.number().positive(),
  original_max_position_embeddings: size,
});

/** transformers' own defaults where a key may be missing; the sizes have none. */
const schema = z.looseObject({
  hidden_size: size,
  intermediate_size: size,
  // The largest Llama has 126; names of tensors are made for each.
  num_hidden_layers: size.max(10_000),
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  vocab_size: size,
  hidden_act: z.string().default('silu'),
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: rope.nullish(),
  rope_parameters: rope.nullish(),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  max_position_embeddings: size.nullish(),
  sliding_window: size.nullish(),
  bos_token_id: id.nullish(),
  eos_token_id: z.union([id, z.array(id)]).nullish(),
});

const generationSchema = z.looseObject({ eos_token_id: z.union([id, z.array(id)]).nullish() });

/** The names that zod gives an input's faults, in one line. */
function parse<T>(type: z.ZodType<T>, value: unknown, where: string): T {
  const result = type.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues.map(
    ({ path, message }) => `${path.length > 0 ? path.join('.') : 'the file'}: ${message}`,
  );
  throw new UserError(`${where}: ${faults.join('; ')}`);
}

/** Options that change the computation and are not implemented: value that is harmless → what to say otherwise. */
const harmless: readonly (readonly [key: string, isHarmless: (value: unknown) => boolean, say: string])[] = [
  [
    'quantization_config',
    (v) => v === undefined || v === null,
    'a quantised checkpoint cannot be trained on; use the F32, F16 or BF16 one',
  ],
  ['rope_interleaved', (v) => v !== true, 'interleaved rotary embedding is not supported'],
  ['qk_layer_norms', (v) => v !== true, 'normalised queries and keys are not supported'],
  [
    'layer_types',
    (v) => !Array.isArray(v) || v.every((t) => t === 'full_attention'),
    'only full attention in every layer is supported',
  ],
];

function checkSupported(json: Readonly<Record<string, unknown>>, where: string): 'llama' | 'mistral' {
  const type = json['model_type'];
  if (type !== 'llama' && type !== 'mistral')
    throw new UserError(
      `${where}: model_type ${JSON.stringify(type)} is not supported; supported are "llama" and "mistral"`,
    );
  for (const [key, isHarmless, say] of harmless) {
    const value = json[key];
    if (!isHarmless(value)) throw new UserError(`${where}: ${key} ${JSON.stringify(value).slice(0, 120)}: ${say}`);
  }
  return type;
}

type Raw = z.infer<typeof schema>;

function ropeOf(raw: Raw, where: string): Pick<LlamaConfig, 'ropeTheta' | 'ropeScaling'> {
  // Newer files keep theta and scaling together in rope_parameters.
  const key = raw.rope_parameters ? 'rope_parameters' : 'rope_scaling';
  const given = raw[key];
  const ropeTheta = raw.rope_parameters?.rope_theta ?? raw.rope_theta ?? 10_000;
  if (given?.partial_rotary_factor !== undefined && (given.partial_rotary_factor ?? 1) !== 1)
    throw new UserError(
      `${where}: ${key}.partial_rotary_factor ${given.partial_rotary_factor} is not supported; only 1 is`,
    );
  const type = given?.rope_type ?? given?.type ?? 'default';
  if (type === 'default') return { ropeTheta, ropeScaling: undefined };
  if (type !== 'llama3')
    throw new UserError(
      `${where}: ${key} of type ${JSON.stringify(type)} is not supported; supported are "default" and "llama3"`,
    );
  const scaling = parse(llama3Rope, given, `${where}: ${key}`);
  return {
    ropeTheta,
    ropeScaling: {
      factor: scaling.factor,
      lowFreqFactor: scaling.low_freq_factor,
      highFreqFactor: scaling.high_freq_factor,
      originalMaxPositions: scaling.original_max_position_embeddings,
    },
  };
}

function headsOf(
  raw: Raw,
  modelType: 'llama' | 'mistral',
  where: string,
): Pick<LlamaConfig, 'heads' | 'kvHeads' | 'headDim'> {
  const heads = raw.num_attention_heads;
  const kvHeads = raw.num_key_value_heads ?? (modelType === 'mistral' ? 8 : heads);
  const headDim = raw.head_dim ?? raw.hidden_size / heads;
  if (!Number.isInteger(headDim))
    throw new UserError(
      `${where}: hidden_size ${raw.hidden_size} is not a multiple of num_attention_heads ${heads}, and head_dim is not given`,
    );
  if (headDim % 2 !== 0) throw new UserError(`${where}: rotary embedding needs an even head_dim, found ${headDim}`);
  if (heads % kvHeads !== 0)
    throw new UserError(`${where}: num_attention_heads ${heads} must be a multiple of num_key_value_heads ${kvHeads}`);
  return { heads, kvHeads, headDim };
}

const list = (ids: number | readonly number[] | null | undefined): readonly number[] | undefined =>
  ids === null || ids === undefined ? undefined : typeof ids === 'number' ? [ids] : ids;

/**
 * A model's parsed config.json, and generation_config.json where there is one, as `LlamaConfig`. Missing optional keys get
 * transformers' defaults. Throws UserError for missing sizes and, by name, for everything that this project does not compute.
 */
export function parseConfig(json: unknown, where: string, generation?: unknown): LlamaConfig {
  const modelType = checkSupported(parse(z.looseObject({}), json, where), where);
  const raw = parse(schema, json, where);
  if (raw.hidden_act !== 'silu' && raw.hidden_act !== 'swish')
    throw new UserError(`${where}: hidden_act ${JSON.stringify(raw.hidden_act)} is not supported; supported is "silu"`);
  const mistral = modelType === 'mistral';
  const generationIds =
    generation === undefined
      ? undefined
      : list(parse(generationSchema, generation, `${where} (generation_config.json)`).eos_token_id);
  // A key that is there as null means no window; a missing one means Mistral's default.
  const slidingWindow = mistral ? (raw.sliding_window === undefined ? 4096 : raw.sliding_window) : undefined;
  return {
    modelType,
    hiddenSize: raw.hidden_size,
    intermediateSize: raw.intermediate_size,
    layers: raw.num_hidden_layers,
    ...headsOf(raw, modelType, where),
    vocabularySize: raw.vocab_size,
    rmsNormEps: raw.rms_norm_eps,
    ...ropeOf(raw, where),
    tieWordEmbeddings: raw.tie_word_embeddings,
    attentionBias: !mistral && raw.attention_bias,
    mlpBias: !mistral && raw.mlp_bias,
    maxPositions: raw.max_position_embeddings ?? (mistral ? 131_072 : 2048),
    slidingWindow: slidingWindow ?? undefined,
    bosId: raw.bos_token_id ?? undefined,
    eosIds: generationIds ?? list(raw.eos_token_id) ?? [],
  };
}

/** Throws UserError if sequences of `length` tokens would need a sliding window, or positions, that the model does not have. */
export function checkLength(config: LlamaConfig, length: number): void {
  if (config.slidingWindow !== undefined && length > config.slidingWindow)
    throw new UserError(
      `sequences of ${length} tokens are longer than the model's sliding window of ${config.slidingWindow}, which is not supported; use at most ${config.slidingWindow}`,
    );
  if (length > config.maxPositions)
    throw new UserError(
      `sequences of ${length} tokens are longer than the ${config.maxPositions} positions that the model knows`,
    );
}
