import type { LoraLayout } from '../lora/adapter.ts';
import type { Tensors } from '../tensor/tensor.ts';

/**
 * Several token sequences as one, without padding: n tokens in all, m of them followed by a labelled token.
 * Linear layers run on the n tokens; only attention sees the padded [rows, length] form, through `slots`.
 */
export interface PackedBatch {
  readonly rows: number;
  /** The longest row. */
  readonly length: number;
  /** [n] token ids, row after row. */
  readonly ids: Int32Array;
  /** [n] position of each token in its row. */
  readonly positions: Int32Array;
  /** [n] row·length + position. */
  readonly slots: Int32Array;
  /** [m] indices into the n tokens: those whose next token is labelled. */
  readonly labelled: Int32Array;
  /** [m] the labelled next tokens. */
  readonly targets: Int32Array;
}

export interface StepResult {
  /** Mean negative log-likelihood over the batch's labelled tokens, in nats. */
  readonly loss: number;
  /** Labelled tokens (m). */
  readonly tokens: number;
  /** Gradients of `loss` with respect to the wanted factors, by factor key. */
  readonly gradients: Tensors;
}

export interface Scores {
  /** [m] negative log-likelihood of each labelled token, in nats. */
  readonly nll: Float32Array;
  /** [m] the most likely token at each labelled position. */
  readonly predicted: Int32Array;
}

export interface GenerateOptions {
  readonly maxNewTokens: number;
  /** Generation ends before any of these ids. */
  readonly stop: readonly number[];
  /** 0: greedy. */
  readonly temperature?: number;
  readonly topP?: number;
  /** Uniform numbers in [0, 1), needed when temperature > 0. */
  readonly random?: () => number;
  readonly signal?: AbortSignal;
}

/** A base model opened for training and evaluation. One serves every client of a simulation: they differ only in the factors fed in. */
export interface Engine {
  readonly layout: LoraLayout;
  readonly vocabularySize: number;
  readonly maxLength: number;
  /**
   * Factors may have any rank per module (stacked mixes included); the module's scale is fixed by the layout. Beside the factors
   * there may be the gates of a mix that is weighed token by token; their gradients then come with those wanted. What a mix is weighed
   * by prompt by prompt may be given for scoring (a row's prompt ends before its first labelled token) and generation only.
   */
  step(factors: Tensors, batch: PackedBatch, want: 'A' | 'B' | 'AB'): Promise<StepResult>;
  score(factors: Tensors, batch: PackedBatch): Promise<Scores>;
  /**
   * The new token ids, without the prompt and without the stop id. Calls made at once with the same factors object are run side by
   * side, which is several times faster than one after the other.
   */
  generate(factors: Tensors, prompt: Int32Array, options: GenerateOptions): Promise<Int32Array>;
  /** The last hidden state (after the final norm) at the last token of a prompt, [hidden]. */
  represent(factors: Tensors, prompt: Int32Array): Promise<Float32Array>;
  close(): Promise<void>;
}
