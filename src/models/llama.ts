import type { Graph } from '../graph/graph.ts';
import { attention, type Blocks } from '../graph/ops/attention.ts';
import { add } from '../graph/ops/basic.ts';
import { gatedLowRank, type Mixer } from '../graph/ops/gated.ts';
import { linear, type LowRank } from '../graph/ops/linear.ts';
import { rmsNorm } from '../graph/ops/norm.ts';
import { rotary, type RotaryTables } from '../graph/ops/rotary.ts';
import { embedding, takeRows } from '../graph/ops/rows.ts';
import { swiglu } from '../graph/ops/swiglu.ts';
import type { Value } from '../graph/value.ts';
import type { LlamaConfig } from './config.ts';

/** What the model is made of: where its numbers come from, by Hugging Face's names. */
export interface Parts {
  readonly config: LlamaConfig;
  /** A weight as the file has it, for reading single rows. */
  readonly stored: (name: string) => Value;
  /** A weight in float32. */
  readonly weight: (name: string) => Value;
  /** The LoRA pair of a projection, where it has one. */
  readonly lowRank: (projection: string) => LowRank | undefined;
  /** How the parts of a projection's LoRA pair are weighed per token, where they are. */
  readonly mixer?: (projection: string) => Mixer | undefined;
}

/** What says where tokens stand. */
export interface Places {
  /** int64 [n, 1]. */
  readonly positions: Value;
  /** Rotations of the keys, and of the queries with the factor 1/√headDim in them. */
  readonly keyTables: RotaryTables;
  readonly queryTables: RotaryTables;
}

/** How a layer's attention gets its keys and values: the batch's own here, with a cache before them when generating. */
export type Attend = (layer: number, q: Value, k: Value, v: Value) => Value;

/** The attention of training and scoring: each row of the batch sees itself. */
export const attendBatch =
  (g: Graph, form: Blocks): Attend =>
  (_layer, q, k, v) =>
    attention(g, q, k, v, form);

function project(g: Graph, parts: Parts, name: string, x: Value, biased: boolean): Value {
  const bias = biased ? parts.weight(`${name}.bias`) : undefined;
  const weight = parts.weight(`${name}.weight`);
  const low = parts.lowRank(name);
  const mixer = parts.mixer?.(name);
  if (low === undefined || mixer === undefined) return linear(g, x, weight, bias, low);
  return gatedLowRank(g, x, linear(g, x, weight, bias), low, mixer);
}

/** ids int32 [n] → x [n, hidden]. */
const embed = (g: Graph, parts: Parts, ids: Value): Value =>
  embedding(g, parts.stored('model.embed_tokens.weight'), ids);

/** One decoder layer, x [n, hidden] → [n, hidden]; with `rows` [m] only these rows of its result are computed: [m, hidden]. */
function decoderLayer(
  g: Graph,
  parts: Parts,
  layer: number,
  input: Value,
  places: Places,
  attend: Attend,
  rows?: Value,
): Value {
  const { heads, kvHeads, rmsNormEps, attentionBias, mlpBias } = parts.config;
  const at = `model.layers.${layer}`;
  const norm = rmsNorm(g, input, parts.weight(`${at}.input_layernorm.weight`), rmsNormEps);
  const q = project(g, parts, `${at}.self_attn.q_proj`, norm, attentionBias);
  const k = project(g, parts, `${at}.self_attn.k_proj`, norm, attentionBias);
  const v = project(g, parts, `${at}.self_attn.v_proj`, norm, attentionBias);
  const seen = attend(
    layer,
    rotary(g, q, places.positions, places.queryTables, heads),
    rotary(g, k, places.positions, places.keyTables, kvHeads),
    v,
  );
  const pick = (x: Value): Value => (rows === undefined ? x : takeRows(g, x, rows));
  const x = add(g, pick(input), project(g, parts, `${at}.self_attn.o_proj`, pick(seen), attentionBias));
  const mlp = rmsNorm(g, x, parts.weight(`${at}.post_attention_layernorm.weight`), rmsNormEps);
  const gate = project(g, parts, `${at}.mlp.gate_proj`, mlp, mlpBias);
  const up = project(g, parts, `${at}.mlp.up_proj`, mlp, mlpBias);
  return add(g, x, project(g, parts, `${at}.mlp.down_proj`, swiglu(g, gate, up), mlpBias));
}

/** x [m, hidden] → the last hidden states [m, hidden], after the final norm. */
export const finalNorm = (g: Graph, parts: Parts, x: Value): Value =>
  rmsNorm(g, x, parts.weight('model.norm.weight'), parts.config.rmsNormEps);

/** x [m, hidden] → logits [m, vocabulary]. */
export function head(g: Graph, parts: Parts, x: Value): Value {
  const { config } = parts;
  const norm = finalNorm(g, parts, x);
  return linear(g, norm, parts.weight(config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight'));
}

/** All decoder layers: ids [n] → x [m, hidden] of the chosen `rows` [m]. After the last attention only they are computed. */
export function trunk(g: Graph, parts: Parts, ids: Value, places: Places, attend: Attend, rows: Value): Value {
  const { layers } = parts.config;
  let x = embed(g, parts, ids);
  for (let layer = 0; layer < layers; layer++)
    x = decoderLayer(g, parts, layer, x, places, attend, layer === layers - 1 ? rows : undefined);
  return x;
}
