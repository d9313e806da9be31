import type { Tensor, Tensors } from '../tensor/tensor.ts';

/** One adapted projection: W = W0 + scale·B·A with A [rank, inFeatures] and B [outFeatures, rank]. */
export interface LoraModule {
  /** The Hugging Face path of the projection, e.g. `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly rank: number;
  readonly alpha: number;
  /** alpha / rank, or alpha / √rank with rsLoRA. */
  readonly scale: number;
}

/** What is adapted: shapes and scales, without numbers. */
export interface LoraLayout {
  /** In the order of the model: layer by layer, q k v o gate up down. */
  readonly modules: readonly LoraModule[];
  readonly rslora: boolean;
}

/** A layout with its factors: for each module the tensors `keyOfA(name)` and `keyOfB(name)`. */
export interface Adapter {
  readonly layout: LoraLayout;
  readonly factors: Tensors;
}

/** Models that are a weighted sum of adapters' products: ΔW = Σ weight·scale·B·A. Mostly one adapter of weight 1. */
export type AdapterMix = readonly MixPart[];

/** One adapter of a mix, and what its product counts there. */
export interface MixPart {
  readonly adapter: Adapter;
  readonly weight: number;
  /**
   * Makes the weight differ from token to token: by module under `keyOfGate`, the part's row [1, in] of a mixer. For an input x
   * of the module the part counts weight·softmax over the parts of (row·x). All parts of a mix have one, or none.
   */
  readonly gate?: Tensors;
  /**
   * Makes the weights differ from prompt to prompt, in a mix of two whose first part has it: α = factor · mean cosine between the
   * prompt's representation and `references` [prompts, hidden], within 0 … 1; the second part has 1 − α. Representations are the last
   * hidden state of a prompt's last token with the first part alone.
   */
  readonly likeness?: { readonly references: Tensor; readonly factor: number };
  /** What the part is called where a mix is written as several adapters. */
  readonly name?: string;
}

export const keyOfA = (module: string): string => `${module}.lora_A`;
export const keyOfB = (module: string): string => `${module}.lora_B`;
