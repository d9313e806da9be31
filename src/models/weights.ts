import type { Projection } from '../lora/layout.ts';
import type { LlamaConfig } from './config.ts';

/** The projections of a layer in the order of the model. */
export const projectionNames = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;

export type ProjectionName = (typeof projectionNames)[number];

/** Every projection of the model, layer by layer, q k v o gate up down; with `targets` only those. */
export function projectionsOf(config: LlamaConfig, targets: readonly string[] = projectionNames): Projection[] {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim } = config;
  const sizes: Readonly<Record<ProjectionName, readonly [room: string, inFeatures: number, outFeatures: number]>> = {
    q_proj: ['self_attn', hiddenSize, heads * headDim],
    k_proj: ['self_attn', hiddenSize, kvHeads * headDim],
    v_proj: ['self_attn', hiddenSize, kvHeads * headDim],
    o_proj: ['self_attn', heads * headDim, hiddenSize],
    gate_proj: ['mlp', hiddenSize, intermediateSize],
    up_proj: ['mlp', hiddenSize, intermediateSize],
    down_proj: ['mlp', intermediateSize, hiddenSize],
  };
  const chosen = projectionNames.filter((name) => targets.includes(name));
  return Array.from({ length: config.layers }, (_, layer) =>
    chosen.map((name) => {
      const [room, inFeatures, outFeatures] = sizes[name];
      return { name: `model.layers.${layer}.${room}.${name}`, inFeatures, outFeatures };
    }),
  ).flat();
}

/** Name and shape of every tensor that the model reads, as Hugging Face checkpoints name them. A tied head is not among them. */
export function weightShapes(config: LlamaConfig): ReadonlyMap<string, readonly number[]> {
  const { hiddenSize, vocabularySize, attentionBias, mlpBias } = config;
  const shapes = new Map<string, readonly number[]>([['model.embed_tokens.weight', [vocabularySize, hiddenSize]]]);
  for (let layer = 0; layer < config.layers; layer++)
    for (const norm of ['input_layernorm', 'post_attention_layernorm'])
      shapes.set(`model.layers.${layer}.${norm}.weight`, [hiddenSize]);
  for (const { name, inFeatures, outFeatures } of projectionsOf(config)) {
    shapes.set(`${name}.weight`, [outFeatures, inFeatures]);
    if (name.includes('.mlp.') ? mlpBias : attentionBias) shapes.set(`${name}.bias`, [outFeatures]);
  }
  shapes.set('model.norm.weight', [hiddenSize]);
  if (!config.tieWordEmbeddings) shapes.set('lm_head.weight', [vocabularySize, hiddenSize]);
  return shapes;
}
